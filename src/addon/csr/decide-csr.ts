import type { CertificateSigningRequest } from '../api/certificate-signing-request.ts';
import { kubeTime } from '../api/condition.ts';
import { agentEligibility, type ManagedCluster } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import type { Registration } from '../api/registration-config.ts';
import { verifyCsr } from './verify-csr.ts';

export interface CsrInput {
  readonly csr: CertificateSigningRequest;
  /** Undefined: the hub does not know the cluster, or the cache has not seen it yet. */
  readonly cluster: ManagedCluster | undefined;
  readonly addon: ManagedClusterAddOn | undefined;
  /** Those of the cluster's agent (see `agentRegistrations`). */
  readonly registrations: readonly Registration[];
}

/** The hub's gRPC server creates requests for klusterlets that cannot reach the kube-apiserver. */
const grpcServerUser = 'system:serviceaccount:open-cluster-management-hub:grpc-server-sa';
const klusterletPrefix = 'system:open-cluster-management:';

/**
 * The cluster in the labels of a request for this addon. Anyone who can create a request can write
 * these labels.
 */
export function labelledCluster(csr: CertificateSigningRequest): string | undefined {
  return csr.labels[labels.addonName] === addonName ? csr.labels[labels.clusterName] : undefined;
}

/**
 * Decides whether to approve a request for a certificate of this addon. In the result, `message` is
 * for people and `reason` for programs.
 *
 * - Approved: a klusterlet asks for the agent of its own cluster, and the hub accepts that cluster.
 * - Denied: a klusterlet asks for another cluster, or for more than the registration allows. No
 *   person would approve that by hand. Kubernetes removes the request after an hour, and the
 *   klusterlet makes another.
 * - Left: no klusterlet made the request, so a person decides. Or the request came too early, and
 *   is decided again when the cluster or the addon changes.
 */
export async function decideCsr({ csr, cluster, addon, registrations }: CsrInput) {
  const name = labelledCluster(csr);
  const what = `CertificateSigningRequest ${csr.name}`;
  const leave = (reason: string, message: string) => ({ kind: 'leave', reason, message }) as const;
  const deny = (reason: string, message: string) =>
    ({ kind: 'deny', reason, message: `${what} ${message}` }) as const;

  if (name === undefined)
    return leave('NotOurs', `${what} does not have the labels of ${addonName}`);
  if (csr.conditions.length > 0) return leave('Decided', `${what} is decided already`);

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
  const agent = agentEligibility(name, cluster, addon);
  if (agent.kind === 'ineligible') return leave(agent.reason, `${what}: ${agent.message}`);
  const checked = await verifyCsr(csr, agent.addon, registrations);
  if (checked.kind === 'refused') return deny(checked.reason, checked.sentence);
  return {
    kind: 'approve',
    reason: 'AutoApprovedByHubCSRApprovingController',
    message: `The klusterlet of ${name} asks for the certificate of its own ${addonName} agent.`,
  } as const;
}

/** The condition that carries out a decision, for the subresource `approval`. */
export function decisionCondition(
  { kind, reason, message }: Readonly<Record<'kind' | 'reason' | 'message', string>>,
  nowMs: number,
) {
  const type = kind === 'approve' ? 'Approved' : 'Denied';
  return { type, status: 'True', reason, message, lastUpdateTime: kubeTime(nowMs) };
}

/** The condition of a request that was approved and cannot be signed. */
export function failedCondition(message: string, nowMs: number) {
  const time = { lastUpdateTime: kubeTime(nowMs), lastTransitionTime: kubeTime(nowMs) };
  return { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', message, ...time };
}

/** The cluster whose klusterlet made the request. Undefined: no klusterlet made it. */
function klusterletOf(csr: CertificateSigningRequest): string | undefined {
  const { user, groups } = csr.requester;
  // Only the gRPC server can make a request as this user, and it has authenticated the user in the
  // annotation.
  if (user === grpcServerUser) return clusterOfUser(csr.annotations[annotations.csrUser] ?? '');
  const cluster = clusterOfUser(user);
  // The hub's registration puts a klusterlet into the group of its cluster. Another source could
  // issue the user name alone.
  return groups.includes(`${klusterletPrefix}${cluster}`) ? cluster : undefined;
}

/** The cluster in `system:open-cluster-management:CLUSTER:AGENT`. Longer names are refused. */
function clusterOfUser(user: string): string | undefined {
  if (!user.startsWith(klusterletPrefix)) return undefined;
  const [cluster, agent, ...more] = user.slice(klusterletPrefix.length).split(':');
  return cluster && agent && more.length === 0 ? cluster : undefined;
}
