import { agentDnsName } from '../../base/agent-subject.ts';
import type { CertificateSigningRequest } from '../api/certificate-signing-request.ts';
import { kubeTime } from '../api/condition.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import { kubeClientSigner, type Registration } from '../api/registration-config.ts';

/** The PKCS#10 request inside a CertificateSigningRequest, parsed. */
export interface RequestedCertificate {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly organizationalUnits: readonly string[];
  /** Parts of the subject besides these three, such as `L=Berlin`. */
  readonly otherSubject: readonly string[];
  readonly dnsNames: readonly string[];
  /** Names of other kinds (IP, e-mail, URI, ...), as text. */
  readonly otherNames: readonly string[];
}

/** What to do with a request. A person can read `message`; `reason` is for programs and counters. */
export type CsrDecision =
  | { readonly t: 'approve' | 'deny'; readonly reason: string; readonly message: string }
  /** Not ours, not now, or not ours to judge: it stays as it is and may be judged again. */
  | { readonly t: 'leave'; readonly reason: string; readonly message: string };

export interface CsrInput {
  readonly csr: CertificateSigningRequest;
  /** Undefined: unknown to the hub (or not seen yet). */
  readonly cluster: ManagedCluster | undefined;
  readonly addon: ManagedClusterAddOn | undefined;
  /** What the agent of that cluster is registered as (see `agentRegistrations`). */
  readonly registrations: readonly Registration[];
  /** An Error: it cannot be read. */
  readonly request: RequestedCertificate | Error;
}

/** The hub's gRPC server creates requests for klusterlets that have no way to the kube-apiserver. */
const grpcServerUser = 'system:serviceaccount:open-cluster-management-hub:grpc-server-sa';
const klusterletPrefix = 'system:open-cluster-management:';

const neededUsage = 'client auth';
/** What the klusterlet asks for. */
const allowedUsages: ReadonlySet<string> = new Set([
  neededUsage,
  'digital signature',
  'key encipherment',
]);

/** The cluster that a request is labelled with, where it is labelled as one of this addon. Anybody can write labels. */
export function labelledCluster(csr: CertificateSigningRequest): string | undefined {
  return csr.labels[labels.addonName] === addonName ? csr.labels[labels.clusterName] : undefined;
}

/**
 * Whether to approve a request for a certificate of this addon.
 *
 * Approved is only what a cluster's own klusterlet asks for its own agent, while the hub accepts that cluster. Denied is what a
 * cluster asks for in another's name, or beyond its registration: nobody could want to approve that by hand. A request that no
 * klusterlet made is left to people; one that comes too early is judged again when cluster or addon changes. A denied request is
 * removed by Kubernetes after an hour, and the klusterlet then makes another.
 */
export function decideCsr(input: CsrInput): CsrDecision {
  const { csr, cluster, addon } = input;
  const name = labelledCluster(csr);
  const what = `CertificateSigningRequest ${csr.name}`;
  const leave = (reason: string, message: string): CsrDecision => ({ t: 'leave', reason, message });
  const deny = (reason: string, message: string): CsrDecision => ({
    t: 'deny',
    reason,
    message: `${what} ${message}`,
  });

  if (name === undefined) return leave('NotOurs', `${what} is not labelled as one of ${addonName}`);
  if (csr.isDecided) return leave('Decided', `${what} is decided already`);

  const requester = klusterletOf(csr);
  if (requester === undefined) {
    const message = `${what} was made by ${JSON.stringify(csr.requester.user)}, who is no klusterlet; approve it by hand if you trust it`;
    return leave('NotFromKlusterlet', message);
  }
  if (requester !== name) {
    return deny(
      'ForeignRequester',
      `is for the cluster ${name} and was made by the klusterlet of ${requester}; a klusterlet gets certificates for its own cluster only`,
    );
  }
  if (cluster === undefined || cluster.isDeleting) {
    return leave('NoCluster', `${what}: there is no ManagedCluster ${name}`);
  }
  if (!cluster.isAccepted) {
    const message = `${what}: the hub does not accept ManagedCluster ${name}; set its spec.hubAcceptsClient to true`;
    return leave('ClusterNotAccepted', message);
  }
  if (addon === undefined || addon.isDeleting) {
    return leave('NoAddOn', `${what}: there is no ManagedClusterAddOn ${name}/${addonName}`);
  }
  const registration = input.registrations.find(({ signer }) => signer === csr.signer);
  const hasToken = csr.signer === kubeClientSigner && addon.driver === 'token';
  if (registration === undefined || hasToken) {
    return deny(
      'ForeignSigner',
      `is for the signer ${csr.signer}, with which the agent of ${name} is not registered`,
    );
  }
  if (input.request instanceof Error) {
    return deny('Unreadable', `holds no request that can be read: ${input.request.message}`);
  }
  const excess = differences(input.request, registration, csr.usages);
  if (excess.length > 0) {
    return deny(
      'ForeignSubject',
      `asks for more than the agent of ${name} is: ${excess.join('; ')}`,
    );
  }
  return {
    t: 'approve',
    reason: 'AutoApprovedByHubCSRApprovingController',
    message: `The klusterlet of ${name} asks for the certificate of its own ${addonName} agent.`,
  };
}

/** The condition that carries a decision out, for the `approval` of the request. */
export function approvalCondition(
  decision: CsrDecision & { t: 'approve' | 'deny' },
  nowMs: number,
): Readonly<Record<string, string>> {
  return {
    type: decision.t === 'approve' ? 'Approved' : 'Denied',
    status: 'True',
    reason: decision.reason,
    message: decision.message,
    lastUpdateTime: kubeTime(nowMs),
  };
}

/** The cluster whose klusterlet made the request; undefined: no klusterlet did. */
function klusterletOf(csr: CertificateSigningRequest): string | undefined {
  const { user, groups } = csr.requester;
  // Only the gRPC server itself can make a request as this user, and it has authenticated whom it names.
  if (user === grpcServerUser) return clusterOfUser(csr.annotations[annotations.csrUser] ?? '');
  const cluster = clusterOfUser(user);
  // The hub's own registration puts a klusterlet into the group of its cluster; a user name alone could come from elsewhere.
  return groups.includes(`${klusterletPrefix}${cluster}`) ? cluster : undefined;
}

/** `system:open-cluster-management:CLUSTER:AGENT`, and nothing that only begins like it. */
function clusterOfUser(user: string): string | undefined {
  if (!user.startsWith(klusterletPrefix)) return undefined;
  const [cluster, agent, ...more] = user.slice(klusterletPrefix.length).split(':');
  return cluster && agent && more.length === 0 ? cluster : undefined;
}

function differences(
  request: RequestedCertificate,
  registration: Registration,
  usages: readonly string[],
): readonly string[] {
  const found: string[] = [];
  if (request.commonName !== registration.user) {
    found.push(`its common name is ${quote(request.commonName)}, not ${quote(registration.user)}`);
  }
  const compare = (what: string, asked: readonly string[], allowed: readonly string[]) => {
    if (isSameSet(asked, allowed)) return;
    found.push(`its ${what} are ${quoteAll(asked)}, not ${quoteAll(allowed)}`);
  };
  compare('organizations', request.organizations, registration.groups);
  compare('organizational units', request.organizationalUnits, registration.organizationalUnits);
  compare('other parts of the subject', request.otherSubject, []);
  const foreignNames = request.dnsNames.filter((name) => name !== agentDnsName);
  compare('alternative names', [...foreignNames, ...request.otherNames], []);
  const foreignUsages = usages.filter((usage) => !allowedUsages.has(usage));
  compare('usages beyond those of a client', foreignUsages, []);
  if (!usages.includes(neededUsage)) found.push(`its usages lack ${quote(neededUsage)}`);
  return found;
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  const right = new Set(b);
  return new Set(a).size === right.size && a.every((item) => right.has(item));
}

const quotedLength = 200;
const quotedValues = 5;

// What a request says is foreign text: quoted, it cannot pass for ours, and cut, it fills no log.
function quote(value: string): string {
  const isLong = value.length > quotedLength;
  return JSON.stringify(isLong ? `${value.slice(0, quotedLength)}…` : value);
}

function quoteAll(values: readonly string[]): string {
  if (values.length === 0) return 'none';
  const shown = values.slice(0, quotedValues).map(quote).join(', ');
  const more = values.length - quotedValues;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
