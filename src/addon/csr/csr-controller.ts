import { agentSignerName } from '../../base/agent-subject.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { Controller, keysFrom, type KeySource } from '../../kube/controller.ts';
import type { KubeApi } from '../../kube/kube-api.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import { refOf } from '../../kube/kube-ref.ts';
import { agentRegistrations } from '../api/agent-identity.ts';
import {
  type CertificateSigningRequest,
  parseCertificateSigningRequest,
} from '../api/certificate-signing-request.ts';
import { kubeTime } from '../api/condition.ts';
import { servedAgent } from '../api/eligibility.ts';
import {
  addOnRef,
  type ManagedClusterAddOn,
  parseManagedClusterAddOn,
} from '../api/managed-cluster-addon.ts';
import { parseManagedCluster } from '../api/managed-cluster.ts';
import { addonName } from '../api/names.ts';
import type { AgentSigner, HubStateCell } from '../hub/hub-state.ts';
import { isSameButVersion } from '../runtime/cached-object.ts';
import { controllerDefaults } from '../runtime/controller-defaults.ts';
import { byCluster, type Watches } from '../runtime/watches.ts';
import { approvalCondition, decideCsr, labelledCluster } from './decide-csr.ts';
import { agentSignerPatch } from './record-signer.ts';
import { signAgentCsr } from './sign-csr.ts';
import { checkCsr } from './verify-csr.ts';

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

/** A request that is looked at. */
interface Pass {
  readonly object: KubeObject;
  readonly csr: CertificateSigningRequest;
  readonly cluster: string;
  readonly signer: AgentSigner;
  readonly signal: AbortSignal;
}

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
      objects
        .map(parseCertificateSigningRequest)
        .filter(isOpen)
        .map(({ name }) => name);
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
    if (object === undefined || hub === undefined) return;
    const csr = parseCertificateSigningRequest(object);
    const cluster = labelledCluster(csr);
    if (cluster === undefined || !isOpen(csr)) return;
    const pass: Pass = { object, csr, cluster, signer: hub.agentSigner, signal };
    if (csr.conditions.length === 0) await this.#decide(pass);
    else await this.#sign(pass);
  }

  async #decide(pass: Pass): Promise<void> {
    const { csr, cluster: name, signer } = pass;
    const decision = await decideCsr({
      csr,
      ...this.#owners(name),
      registrations: agentRegistrations(name, signer.organizationalUnit),
    });
    const { reason, message } = decision;
    const said = { request: csr.name, cluster: name, signer: csr.signer, reason, message };
    if (decision.t === 'leave') {
      this.#log.info('request left as it is', said);
      return;
    }
    const condition = approvalCondition(decision, this.#nowMs);
    await this.#patch(pass, 'approval', { conditions: [condition] });
    const isApproved = decision.t === 'approve';
    this.#counts[isApproved ? 'approved' : 'denied']++;
    if (isApproved) this.#log.info('request approved', said);
    else this.#log.warn('request denied', { ...said, requester: csr.requester.user });
  }

  /** What is approved, by us or by a person who has answered for whoever made it. What is signed comes by once more. */
  async #sign(pass: Pass): Promise<void> {
    const { csr, cluster: name, signer } = pass;
    const { cluster, addon } = this.#owners(name);
    const agent = servedAgent(name, cluster, addon);
    if (agent.t === 'unserved') return;
    if (csr.certificate !== undefined) {
      await this.#takeNote(pass, agent.addon, csr.certificate);
      return;
    }
    const registrations = agentRegistrations(name, signer.organizationalUnit);
    const checked = await checkCsr(csr, agent.addon, registrations);
    const said = { request: csr.name, cluster: name };
    if (checked.t === 'refused') {
      const { reason, sentence } = checked;
      const message = `CertificateSigningRequest ${csr.name} ${sentence}`;
      const conditions = [...csr.conditions, failedCondition(message, this.#nowMs)];
      await this.#patch(pass, 'status', { conditions });
      this.#counts.failed++;
      this.#log.warn('request not signed', { ...said, reason, message });
      return;
    }
    const pem = await signAgentCsr(checked, signer.authority, this.#options.wallClock());
    const certificate = Buffer.from(pem).toString('base64');
    await this.#patch(pass, 'status', { certificate });
    this.#counts.signed++;
    this.#log.info('request signed', said);
  }

  /** So that a rotation of the CA knows who has a certificate of the new one. The request tells it after a restart, too. */
  async #takeNote({ csr, signer, signal }: Pass, addon: ManagedClusterAddOn, certificate: string) {
    // Kubernetes keeps requests for an hour. This one belongs to an earlier cluster of the same name.
    if (csr.createdAtMs < addon.createdAtMs) return;
    const patch = await agentSignerPatch(addon, certificate, signer.authority, this.#nowMs);
    if (patch !== undefined) await this.#options.api.patch(addOnRef(addon), patch, { signal });
  }

  get #nowMs(): number {
    return this.#options.wallClock().getTime();
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
    { object, signal }: Pass,
    subresource: 'approval' | 'status',
    status: object,
  ): Promise<void> {
    const { resourceVersion, uid } = object.metadata;
    const patch = { metadata: { resourceVersion, uid }, status };
    await this.#options.api.patch(refOf(object), patch, { signal, subresource });
  }
}

/** Whether there is anything left to do about it for us. */
function isOpen({ conditions, signer, isApproved }: CertificateSigningRequest): boolean {
  return conditions.length === 0 || (signer === agentSignerName && isApproved);
}

function failedCondition(message: string, nowMs: number): object {
  const time = { lastUpdateTime: kubeTime(nowMs), lastTransitionTime: kubeTime(nowMs) };
  return { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', message, ...time };
}
