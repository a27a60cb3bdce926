import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { agentSignerName } from '../../base/agent-subject.ts';
import type { KubeApi } from '../../kube/kube-api.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import { refOf } from '../../kube/kube-ref.ts';
import {
  type CertificateSigningRequest,
  parseCertificateSigningRequest,
} from '../api/certificate-signing-request.ts';
import { type Condition, isTrue, kubeTime, parseConditions } from '../api/condition.ts';
import { fields, text } from '../api/fields.ts';
import { parseManagedCluster } from '../api/managed-cluster.ts';
import { parseManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { addonName } from '../api/names.ts';
import { checkAgentCsr, signAgentCsr, type SigningRequest } from '../certificates/agent-csr.ts';
import { Controller, keysFrom, type KeySource } from '../../kube/controller.ts';
import { agentRegistrations } from '../registration/agent-identity.ts';
import { approvalCondition, decideCsr, labelledCluster } from '../registration/csr-approval.ts';
import { readRequest } from './csr-check.ts';
import type { HubState, HubStateCell } from './hub-state.ts';
import { isSameButVersion } from './kept-object.ts';
import { byCluster, type Watches } from './watches.ts';
import { controllerDefaults } from './controller-defaults.ts';

export interface CsrControllerOptions {
  readonly api: KubeApi;
  readonly watches: Watches;
  readonly state: HubStateCell;
  readonly clock: Clock;
  readonly wallClock: () => Date;
  readonly log: Logger;
}

/** What became of requests, since the start. */
export type CsrCounts = Readonly<Record<'approved' | 'denied' | 'signed' | 'failed', number>>;

/** Approves what klusterlets ask for their own agents, denies what goes beyond, and signs for our own signer. */
export class CsrController {
  readonly #options: CsrControllerOptions;
  readonly #log: Logger;
  readonly #counts = { approved: 0, denied: 0, signed: 0, failed: 0 };
  readonly controller: Controller;

  constructor(options: CsrControllerOptions) {
    this.#options = options;
    this.#log = options.log.child({ controller: 'requests' });
    this.controller = new Controller({
      name: 'requests',
      sources: this.#sources(),
      reconcile: async (key, signal) => {
        await this.#reconcile(key, signal);
        return undefined;
      },
      ...controllerDefaults,
      clock: options.clock,
      log: options.log,
    });
  }

  get counts(): CsrCounts {
    return this.#counts;
  }

  #sources(): readonly KeySource[] {
    const { watches, state } = this.#options;
    const { requests, clusters, addOns } = watches;
    const open = (objects: readonly KubeObject[]) =>
      objects.filter(isOpen).map(({ metadata }) => metadata.name);
    return [
      keysFrom(requests),
      keysFrom(clusters, ({ key, old, now }) =>
        isSameButVersion(old, now) ? [] : open(requests.byIndex(byCluster, key)),
      ),
      keysFrom(addOns, ({ old, now }) =>
        open(requests.byIndex(byCluster, (now ?? old)!.metadata.namespace ?? '')),
      ),
      {
        follow: (add) =>
          state.onChange(() => {
            for (const name of open(requests.list())) add(name);
          }),
        synced: () => Promise.resolve(),
      },
    ];
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<void> {
    const object = this.#options.watches.requests.get(name);
    const hub = this.#options.state.value;
    if (object === undefined || hub === undefined || !isOpen(object)) return;
    const csr = parseCertificateSigningRequest(object);
    const cluster = labelledCluster(csr);
    if (cluster === undefined) return;
    if (csr.isDecided) await this.#sign(object, cluster, hub, signal);
    else await this.#decide(object, csr, cluster, hub, signal);
  }

  async #decide(
    object: KubeObject,
    csr: CertificateSigningRequest,
    name: string,
    { organizationalUnit }: HubState,
    signal: AbortSignal,
  ): Promise<void> {
    const { api, wallClock } = this.#options;
    const { cluster, addon } = this.#owners(name);
    const decision = decideCsr({
      csr,
      cluster,
      addon,
      registrations: agentRegistrations(name, organizationalUnit),
      request: await readRequest(object as SigningRequest),
    });
    const { reason, message } = decision;
    const said = { request: csr.name, cluster: name, signer: csr.signer, reason, message };
    if (decision.t === 'leave') {
      this.#log.info('request left as it is', said);
      return;
    }
    const condition = approvalCondition(decision, wallClock().getTime());
    await this.#patch(api, object, 'approval', { conditions: [condition] }, signal);
    const isApproved = decision.t === 'approve';
    this.#counts[isApproved ? 'approved' : 'denied']++;
    if (isApproved) this.#log.info('request approved', said);
    else this.#log.warn('request denied', { ...said, requester: csr.requester.user });
  }

  /** Of those that are approved: by us, or by a person who has answered for whoever made it. */
  async #sign(object: KubeObject, name: string, hub: HubState, signal: AbortSignal): Promise<void> {
    const { api, wallClock } = this.#options;
    const { cluster, addon } = this.#owners(name);
    if (addon === undefined || cluster?.isAccepted !== true) return;
    const registrations = agentRegistrations(name, hub.organizationalUnit);
    const registration = registrations.find(({ signer }) => signer === agentSignerName)!;
    const request = withRequester(object as SigningRequest, name);
    const refusal = await checkAgentCsr(request, {
      cluster: name,
      signerName: agentSignerName,
      ...registration,
    });
    const said = { request: object.metadata.name, cluster: name };
    if (refusal !== undefined) {
      const now = wallClock().getTime();
      const failed = failedCondition(refusal.sentence, now);
      const conditions = [...conditionsOf(object), failed];
      await this.#patch(api, object, 'status', { conditions }, signal);
      this.#counts.failed++;
      this.#log.warn('request not signed', { ...said, code: refusal.code, why: refusal.sentence });
      return;
    }
    const pem = await signAgentCsr(request, hub.agentAuthority, wallClock());
    const certificate = Buffer.from(pem).toString('base64');
    await this.#patch(api, object, 'status', { certificate }, signal);
    this.#counts.signed++;
    this.#log.info('request signed', said);
  }

  #owners(name: string) {
    const { clusters, addOns } = this.#options.watches;
    const cluster = clusters.get(name);
    const addon = addOns.get(`${name}/${addonName}`);
    return {
      cluster: cluster && parseManagedCluster(cluster),
      addon: addon && parseManagedClusterAddOn(addon),
    };
  }

  async #patch(
    api: KubeApi,
    object: KubeObject,
    subresource: 'approval' | 'status',
    status: object,
    signal: AbortSignal,
  ): Promise<void> {
    const { resourceVersion, uid } = object.metadata;
    const patch = { metadata: { resourceVersion, uid }, status };
    await api.patch(refOf(object), patch, { signal, subresource });
  }
}

/** Whether there is anything left to do about it for us. */
function isOpen(object: KubeObject): boolean {
  const conditions = conditionsOf(object);
  if (conditions.length === 0) return true;
  const hasEnded = isTrue(conditions, 'Denied') || isTrue(conditions, 'Failed');
  const { spec, status } = object;
  const hasCertificate = text(fields(status)['certificate']) !== '';
  const isOurs = text(fields(spec)['signerName']) === agentSignerName;
  return isOurs && isTrue(conditions, 'Approved') && !hasEnded && !hasCertificate;
}

function conditionsOf(object: KubeObject): readonly Condition[] {
  return parseConditions(fields(object['status'])['conditions']);
}

/** As if that cluster's klusterlet had made it: who did was judged when it was approved. */
function withRequester(request: SigningRequest, cluster: string): SigningRequest {
  const group = `system:open-cluster-management:${cluster}`;
  const groups = [group];
  return { ...request, spec: { ...request.spec, username: `${group}:approved`, groups } };
}

function failedCondition(message: string, nowMs: number): object {
  const time = { lastUpdateTime: kubeTime(nowMs), lastTransitionTime: kubeTime(nowMs) };
  return { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', message, ...time };
}
