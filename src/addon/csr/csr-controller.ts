import { agentSignerName } from '../../base/names/agent-subject.ts';
import type { Logger } from '../../base/log/logger.ts';
import { type Controller, keysFrom, type KeySource } from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { agentRegistrations } from '../api/agent-identity.ts';
import {
  type CertificateSigningRequest,
  parseCertificateSigningRequest,
} from '../api/certificate-signing-request.ts';
import { agentEligibility } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { AgentSigner, HubState } from '../hub/hub-state.ts';
import { isSameButVersion } from '../runtime/cached-object.ts';
import {
  type ControllerContext,
  addonController,
  patchStatus,
} from '../runtime/controller-context.ts';
import { keysOnChange, type Observable } from '../runtime/observable.ts';
import { byCluster, ownersOf } from '../runtime/watches.ts';
import { decideCsr, decisionCondition, failedCondition, labelledCluster } from './decide-csr.ts';
import { signerRecordPatch } from './record-signer.ts';
import { signCsr } from './sign-csr.ts';
import { verifyCsr } from './verify-csr.ts';

export interface CsrControllerOptions extends Omit<ControllerContext, 'applier'> {
  readonly state: Observable<HubState>;
}

/** The reconcile of one request. */
interface Reconcile {
  readonly object: KubeObject;
  readonly csr: CertificateSigningRequest;
  readonly cluster: string;
  readonly signer: AgentSigner;
  readonly signal: AbortSignal;
}

/**
 * Reconciles certificate signing requests, one step at a time: decide, then sign, then record the
 * signer on the ManagedClusterAddOn. Each step changes an object, and the change brings the request
 * back for the next step. Nothing is approved or signed without `verifyCsr`.
 */
export class CsrController {
  readonly #options: CsrControllerOptions;
  readonly #log: Logger;
  /** Results of requests since the start. */
  readonly counts = { approved: 0, denied: 0, signed: 0, failed: 0 };
  readonly controller: Controller;

  constructor(options: CsrControllerOptions) {
    this.#options = options;
    this.#log = options.log.child({ controller: 'requests' });
    this.controller = addonController(options, {
      name: 'requests',
      sources: this.#sources(),
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
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
      keysOnChange(state, () => open(requests.list())),
    ];
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<undefined> {
    const object = this.#options.watches.requests.get(name);
    const signer = this.#options.state.value.agentSigner;
    if (object === undefined || signer === undefined) return;
    const csr = parseCertificateSigningRequest(object);
    const cluster = labelledCluster(csr);
    if (cluster === undefined || !isOpen(csr)) return;
    const reconcile: Reconcile = { object, csr, cluster, signer, signal };
    if (csr.conditions.length === 0) await this.#decide(reconcile);
    else await this.#sign(reconcile);
  }

  async #decide({ object, csr, cluster, signer, signal }: Reconcile): Promise<void> {
    const decision = await decideCsr({
      csr,
      ...ownersOf(this.#options.watches, cluster),
      registrations: agentRegistrations(cluster, signer.organizationalUnit),
    });
    const { reason, message } = decision;
    const fields = { request: csr.name, cluster, signer: csr.signer, reason, message };
    if (decision.kind === 'leave') {
      this.#log.info('request left as it is', fields);
      return;
    }
    const status = { conditions: [decisionCondition(decision, this.#nowMs)] };
    await patchStatus(this.#options.api, object, status, signal, 'approval');
    const isApproved = decision.kind === 'approve';
    this.counts[isApproved ? 'approved' : 'denied']++;
    if (isApproved) this.#log.info('request approved', fields);
    else this.#log.warn('request denied', { ...fields, requester: csr.requester.user });
  }

  /**
   * Signs an approved request, whether the addon or a person approved it. A signed request is
   * recorded instead.
   */
  async #sign(reconcile: Reconcile): Promise<void> {
    const { object, csr, cluster: name, signer, signal } = reconcile;
    const { cluster, addon } = ownersOf(this.#options.watches, name);
    const agent = agentEligibility(name, cluster, addon);
    if (agent.kind === 'ineligible') return;
    if (csr.certificate !== undefined) {
      await this.#recordSigner(reconcile, agent.addon, csr.certificate);
      return;
    }
    const registrations = agentRegistrations(name, signer.organizationalUnit);
    const verified = await verifyCsr(csr, agent.addon, registrations);
    const fields = { request: csr.name, cluster: name };
    if (verified.kind === 'refused') {
      const { reason, sentence } = verified;
      const message = `CertificateSigningRequest ${csr.name} ${sentence}`;
      const conditions = [...csr.conditions, failedCondition(message, this.#nowMs)];
      await patchStatus(this.#options.api, object, { conditions }, signal);
      this.counts.failed++;
      this.#log.warn('request not signed', { ...fields, reason, message });
      return;
    }
    const pem = await signCsr(verified, signer.authority, this.#options.wallClock());
    const certificate = Buffer.from(pem).toString('base64');
    await patchStatus(this.#options.api, object, { certificate }, signal);
    this.counts.signed++;
    this.#log.info('request signed', fields);
  }

  /**
   * Records the CA for its rotation, which waits for agents without a certificate of the new CA. A
   * restart finds the request again.
   */
  async #recordSigner(
    { csr, signer, signal }: Reconcile,
    addon: ManagedClusterAddOn,
    certificate: string,
  ): Promise<void> {
    // Kubernetes keeps requests for an hour. This one belongs to an earlier cluster of the same
    // name.
    if (csr.createdAtMs < addon.createdAtMs) return;
    const patch = await signerRecordPatch(addon, certificate, signer.authority, this.#nowMs);
    if (patch !== undefined) await this.#options.api.patch(addon.ref, patch, { signal });
  }

  get #nowMs(): number {
    return this.#options.wallClock().getTime();
  }
}

/** Whether a step is left for the addon. */
function isOpen({ conditions, signer, isApproved }: CertificateSigningRequest): boolean {
  return conditions.length === 0 || (signer === agentSignerName && isApproved);
}
