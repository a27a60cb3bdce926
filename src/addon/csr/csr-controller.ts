import { agentSignerName } from '../../base/names/agent-subject.ts';
import { type Controller, keysFrom, type KeySource } from '../../kube/controllers/controller.ts';
import { keyOf } from '../../kube/client/kube-ref.ts';
import { agentRegistrations, organizationalUnitOf } from '../api/agent-identity.ts';
import {
  type CertificateSigningRequest,
  parseCertificateSigningRequest,
} from '../api/certificate-signing-request.ts';
import { agentEligibility } from '../api/managed-cluster.ts';
import type { HubContext } from '../hub/hub-state.ts';
import { isSameButVersion } from '../runtime/cached-object.ts';
import { addonController, patchStatus } from '../runtime/controller-context.ts';
import type { Authority } from '../rotation/authority.ts';
import { keysOnChange } from '../runtime/observable.ts';
import { byCluster, ownersOf } from '../runtime/watches.ts';
import {
  type CsrInput,
  decideCsr,
  decisionCondition,
  failedCondition,
  labelledCluster,
} from './decide-csr.ts';
import { signerRecordPatch } from './record-signer.ts';
import { signCsr } from './sign-csr.ts';
import { verifyCsr } from './verify-csr.ts';

/** The reconcile of one request. */
interface Reconcile extends CsrInput {
  /** The name of the cluster. */
  readonly name: string;
  readonly authority: Authority;
  readonly signal: AbortSignal;
  readonly patch: (status: object, subresource?: 'approval') => Promise<void>;
}

/**
 * Reconciles certificate signing requests, one step at a time: decide, then sign, then record the
 * signer on the ManagedClusterAddOn. Each step changes an object, and the change brings the request
 * back for the next step. Nothing is approved or signed without `verifyCsr`.
 */
export class CsrController {
  readonly #options: HubContext;
  /** Results of requests since the start. */
  readonly counts = { approved: 0, denied: 0, signed: 0, failed: 0 };
  readonly controller: Controller;

  constructor(options: HubContext) {
    this.#options = { ...options, log: options.log.child({ controller: 'requests' }) };
    this.controller = addonController(options, {
      name: 'requests',
      sources: this.#sources(),
      reconcile: (key, signal) => this.#reconcile(key, signal),
    });
  }

  #sources(): readonly KeySource[] {
    const { watches, state } = this.#options;
    const { requests, clusters, addOns } = watches;
    const requestsOf = (cluster: string) => requests.byIndex(byCluster, cluster).map(keyOf);
    return [
      keysFrom(requests),
      keysFrom(clusters, ({ key, old, now }) =>
        isSameButVersion(old, now) ? [] : requestsOf(key),
      ),
      keysFrom(addOns, ({ old, now }) => requestsOf((now ?? old)!.metadata.namespace ?? '')),
      keysOnChange(state, () => requests.keys()),
    ];
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<undefined> {
    const { api, watches, state } = this.#options;
    const object = watches.requests.get(key);
    const authority = state.value.agentSigner;
    if (object === undefined || authority === undefined) return;
    const csr = parseCertificateSigningRequest(object);
    const name = labelledCluster(csr);
    if (name === undefined || !isOpen(csr)) return;
    const reconcile: Reconcile = {
      csr,
      name,
      signal,
      authority,
      ...ownersOf(watches, name),
      registrations: agentRegistrations(name, organizationalUnitOf(authority.certPem)),
      patch: (status, subresource) => patchStatus(api, object, status, signal, subresource),
    };
    if (csr.conditions.length === 0) await this.#decide(reconcile);
    else await this.#sign(reconcile);
  }

  async #decide(reconcile: Reconcile): Promise<void> {
    const { csr, name } = reconcile;
    const decision = await decideCsr(reconcile);
    const { reason, message } = decision;
    const fields = { request: csr.name, cluster: name, signer: csr.signer, reason, message };
    if (decision.kind === 'leave') {
      this.#options.log.info('request left as it is', fields);
      return;
    }
    const conditions = [decisionCondition(decision, this.#options.nowMs())];
    await reconcile.patch({ conditions }, 'approval');
    const isApproved = decision.kind === 'approve';
    this.counts[isApproved ? 'approved' : 'denied']++;
    if (isApproved) this.#options.log.info('request approved', fields);
    else this.#options.log.warn('request denied', { ...fields, requester: csr.requester.user });
  }

  /**
   * Signs an approved request, whether the addon or a person approved it. A signed request is
   * recorded instead.
   */
  async #sign({ csr, name, authority, patch, signal, ...owners }: Reconcile): Promise<void> {
    const nowMs = this.#options.nowMs();
    const agent = agentEligibility(name, owners.cluster, owners.addon);
    if (agent.kind === 'ineligible') return;
    const { addon } = agent;
    if (csr.certificate !== undefined) {
      // Kubernetes keeps requests for an hour. This one can belong to an earlier cluster of the
      // same name.
      if (csr.createdAtMs < addon.createdAtMs) return;
      const record = await signerRecordPatch(addon, csr.certificate, authority, nowMs);
      if (record !== undefined) await this.#options.api.patch(addon.ref, record, { signal });
      return;
    }
    const verified = await verifyCsr(csr, addon, owners.registrations);
    const fields = { request: csr.name, cluster: name };
    if (verified.kind === 'refused') {
      const { reason, sentence } = verified;
      const message = `CertificateSigningRequest ${csr.name} ${sentence}`;
      await patch({ conditions: [...csr.conditions, failedCondition(message, nowMs)] });
      this.counts.failed++;
      this.#options.log.warn('request not signed', { ...fields, reason, message });
      return;
    }
    const pem = await signCsr(verified, authority, new Date(nowMs));
    await patch({ certificate: Buffer.from(pem).toString('base64') });
    this.counts.signed++;
    this.#options.log.info('request signed', fields);
  }
}

/** Whether a step is left for the addon. */
function isOpen({ conditions, signer, isApproved }: CertificateSigningRequest): boolean {
  return conditions.length === 0 || (signer === agentSignerName && isApproved);
}
