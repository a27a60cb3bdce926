import type { Controller, ReconcileResult } from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { keyOf } from '../../kube/client/kube-ref.ts';
import { parseAddOnDeploymentConfig } from '../api/addon-deployment-config.ts';
import { agentRegistrations } from '../api/agent-identity.ts';
import { isTrue } from '../api/condition.ts';
import type { ConfigLookup } from '../api/config-reference.ts';
import type { Fields } from '../api/fields.ts';
import { addOnRef, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { type ManagedCluster } from '../api/managed-cluster.ts';
import { isDeployWork, parseManifestWork } from '../api/manifest-work.ts';
import { addonName } from '../api/names.ts';
import { findSame } from '../api/objects.ts';
import type { FleetState, HubState } from '../hub/hub-state.ts';
import { unseenMs } from '../runtime/applier.ts';
import { addonController, type ControllerContext } from '../runtime/controller-context.ts';
import { Failures } from '../runtime/failures.ts';
import { ObjectWriter } from '../runtime/object-writer.ts';
import type { Observable } from '../runtime/observable.ts';
import { byCluster, ownersOf } from '../runtime/watches.ts';
import {
  type AccessOutcome,
  addOnStatusPatch,
  blockedStatusPatch,
  type ManifestsOutcome,
} from './addon-status.ts';
import type { AgentOptions } from './agent-values.ts';
import { clusterSources, problemsOf } from './cluster-sources.ts';
import { findDeploymentConfig, installNamespaceOf } from './deployment-config-reference.ts';
import { planHubAccess } from './hub-access.ts';
import { renderAgent } from './render-agent.ts';
import { aliasAsNameText, isClusterName } from '../../base/names/cluster-name.ts';

export interface ClusterControllerOptions extends ControllerContext, AgentOptions {
  readonly state: Observable<HubState>;
  readonly findConfig: ConfigLookup;
}

/** The reconcile of one cluster. */
interface Reconcile {
  readonly addon: ManagedClusterAddOn;
  readonly cluster: ManagedCluster;
  readonly fleet: FleetState;
  readonly failures: Failures;
  readonly writer: ObjectWriter;
  readonly signal: AbortSignal;
  /** Rights that are removed after the agent has learned of the new entrypoint. */
  readonly staleAccess: KubeObject[];
}

/**
 * Reconciles the addon of each cluster, in this order: the agent's rights on the hub, the
 * ManifestWorks with the agent, and the status of the ManagedClusterAddOn.
 */
export class ClusterController {
  readonly #options: ClusterControllerOptions;
  readonly controller: Controller;

  constructor(options: ClusterControllerOptions) {
    const log = options.log.child({ controller: 'clusters' });
    this.#options = { ...options, log };
    this.controller = addonController(options, {
      name: 'clusters',
      sources: clusterSources(options.watches, options.state),
      reconcile: (cluster, signal) => this.#reconcile(cluster, signal),
    });
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { watches, state } = this.#options;
    const writer = new ObjectWriter(this.#options, 'debug', signal);
    const { addon, cluster } = ownersOf(watches, name);
    if (addon === undefined || addon.isDeleting || cluster === undefined) {
      await this.#withdrawAccess(name, writer);
      return undefined;
    }
    if (!isClusterName(name)) return await this.#refuseName(addon, writer, signal);
    if (!cluster.isAccepted) await this.#withdrawAccess(name, writer);
    const { fleet, agentSigner, blockedReason } = state.value;
    if (fleet === undefined || agentSigner === undefined) {
      if (blockedReason !== undefined) {
        await this.#writeBlockedStatus(addon, blockedReason, signal);
      }
      return undefined;
    }
    const failures = new Failures();
    const staleAccess: KubeObject[] = [];
    const reconcile: Reconcile = { addon, cluster, fleet, failures, writer, signal, staleAccess };
    const access = await this.#reconcileAccess(reconcile);
    const manifests = await this.#reconcileWorks(reconcile);
    await this.#removeStaleAccess(reconcile, manifests);
    await this.#writeStatus(reconcile, agentSigner.organizationalUnit, access, manifests);
    failures.throwIfAny();
    return writer.isUnseen ? { againAfterMs: 1.25 * unseenMs } : undefined;
  }

  /**
   * A cluster whose name is the alias of another cluster gets no agent, because dialers of the
   * other cluster would reach it.
   */
  async #refuseName(
    addon: ManagedClusterAddOn,
    writer: ObjectWriter,
    signal: AbortSignal,
  ): Promise<undefined> {
    await this.#withdrawAccess(addon.cluster, writer);
    for (const work of this.#options.watches.works.byIndex(byCluster, addon.cluster)) {
      if (isDeployWork(work.metadata.name)) await writer.delete(work);
    }
    const reason = `ManagedCluster ${addon.cluster} gets no agent: ${aliasAsNameText}`;
    await this.#writeBlockedStatus(addon, reason, signal);
  }

  /** Removes all rights of the cluster's agent on the hub. */
  async #withdrawAccess(cluster: string, writer: ObjectWriter): Promise<void> {
    for (const object of this.#accessOf(cluster)) await writer.delete(object);
  }

  #accessOf(cluster: string): readonly KubeObject[] {
    const { RoleBinding, Role } = this.#options.watches.access;
    // Bindings are deleted first. A binding without its Role would grant whatever a new Role of
    // that name allows.
    return [RoleBinding, Role].flatMap((informer) => informer.byIndex(byCluster, cluster));
  }

  async #reconcileAccess(reconcile: Reconcile): Promise<AccessOutcome> {
    const { addon, cluster, fleet, writer, staleAccess } = reconcile;
    const plan = planHubAccess(cluster, addon, fleet.tunnel, fleet.hubNamespace);
    const existing = this.#accessOf(cluster.name);
    const failures = new Failures();
    for (const object of plan.apply) {
      await failures.attempt(object, () => writer.apply(object, findSame(existing, object)));
    }
    const removed = new Set(plan.remove.map((ref) => `${ref.kind} ${ref.namespace}/${ref.name}`));
    for (const object of existing) {
      if (!removed.has(`${object.kind} ${keyOf(object)}`)) continue;
      if (plan.outcome.kind === 'applied' && object.metadata.namespace === fleet.hubNamespace) {
        staleAccess.push(object);
      } else {
        await failures.attempt(object, () => writer.delete(object));
      }
    }
    reconcile.failures.addAll(failures);
    return failures.isEmpty ? plan.outcome : { kind: 'failed', message: failures.toString() };
  }

  async #reconcileWorks(reconcile: Reconcile): Promise<ManifestsOutcome> {
    const { addon, cluster, fleet, writer } = reconcile;
    const { watches, log } = this.#options;
    const deploymentConfig = this.#deploymentConfigOf(addon);
    const rendered = renderAgent({ ...this.#options, ...fleet, cluster, addon, deploymentConfig });
    if (rendered.kind === 'failed') return rendered;
    if (rendered.kind === 'waiting') {
      log.debug('no work yet', { cluster: cluster.name, reason: rendered.message });
      return this.#unconfigured(reconcile) ?? { kind: 'waiting' };
    }
    const existing = watches.works.byIndex(byCluster, cluster.name);
    const failures = new Failures();
    for (const work of rendered.works) {
      await failures.attempt(work, () => writer.apply(work, findSame(existing, work)));
    }
    for (const work of existing) {
      const isWanted = findSame(rendered.works, work) !== undefined;
      if (!failures.isEmpty || isWanted || !isDeployWork(work.metadata.name)) continue;
      await failures.attempt(work, () => writer.delete(work));
    }
    reconcile.failures.addAll(failures);
    if (!failures.isEmpty) return { kind: 'failed', message: failures.toString() };
    const stored = rendered.works.map((work) => findSame(existing, work) ?? work);
    const notices = rendered.notices.concat(this.#managementAddOn.unfollowed ?? []);
    return { kind: 'stored', works: stored.map(parseManifestWork), notices };
  }

  /**
   * The failure of a cluster that waits for OCM's addon manager, when that manager will not
   * configure it.
   */
  #unconfigured({ addon, cluster }: Reconcile): ManifestsOutcome | undefined {
    if (cluster.isDeleting || isTrue(addon.conditions, 'Configured')) return undefined;
    const message = this.#managementAddOn.unconfigured;
    return message === undefined ? undefined : { kind: 'failed', message };
  }

  get #managementAddOn() {
    return problemsOf(this.#options.watches.managementAddOns.get(addonName));
  }

  /**
   * Removes the right to connect through the kube-apiserver after the entrypoint has changed. The
   * cluster must have applied the work with the new entrypoint, because its agent has no other way
   * before that.
   */
  async #removeStaleAccess(reconcile: Reconcile, manifests: ManifestsOutcome): Promise<void> {
    const { writer, failures, staleAccess } = reconcile;
    const isApplied =
      manifests.kind === 'stored' && manifests.works.every((work) => work.isApplied);
    if (!isApplied || writer.isUnseen || writer.hasWritten) return;
    for (const object of staleAccess) await failures.attempt(object, () => writer.delete(object));
  }

  async #writeStatus(
    { addon, cluster, signal }: Reconcile,
    organizationalUnit: string,
    access: AccessOutcome,
    manifests: ManifestsOutcome,
  ): Promise<void> {
    const { findConfig, wallClock, agentInstallNamespace } = this.#options;
    const patch = addOnStatusPatch({
      addon,
      registrations: agentRegistrations(cluster.name, organizationalUnit),
      installNamespace: installNamespaceOf(this.#deploymentConfigOf(addon), agentInstallNamespace),
      findConfig,
      access,
      manifests,
      nowMs: wallClock().getTime(),
    });
    await this.#patchStatus(addon, patch, signal);
  }

  /** Reports why the cluster gets no agent now. Objects that exist stay as they are. */
  async #writeBlockedStatus(addon: ManagedClusterAddOn, reason: string, signal: AbortSignal) {
    const patch = blockedStatusPatch(addon, reason, this.#options.wallClock().getTime());
    await this.#patchStatus(addon, patch, signal);
  }

  async #patchStatus(addon: ManagedClusterAddOn, patch: Fields | undefined, signal: AbortSignal) {
    if (patch === undefined) return;
    await this.#options.api.patch(addOnRef(addon), patch, { signal, subresource: 'status' });
  }

  #deploymentConfigOf(addon: ManagedClusterAddOn) {
    return findDeploymentConfig(addon, (namespace, name) => {
      const object = this.#options.watches.deploymentConfigs.get(`${namespace}/${name}`);
      return object && parseAddOnDeploymentConfig(object);
    });
  }
}
