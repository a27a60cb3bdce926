import type { Clock } from '../../base/clock.ts';
import { aliasAsNameText, isClusterName } from '../../base/names/cluster-name.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, keyOf, refOf } from '../../kube/client/kube-ref.ts';
import { renderAgent } from './render-agent.ts';
import { parseAddOnDeploymentConfig } from '../api/addon-deployment-config.ts';
import type { ConfigLookup } from '../api/config-reference.ts';
import { isTrue } from '../api/condition.ts';
import { type ManagedCluster, parseManagedCluster } from '../api/managed-cluster.ts';
import {
  addOnRef,
  type ManagedClusterAddOn,
  parseManagedClusterAddOn,
} from '../api/managed-cluster-addon.ts';
import type { Fields } from '../api/fields.ts';
import { parseManifestWork, isDeployWork } from '../api/manifest-work.ts';
import { addonName } from '../api/names.ts';
import { Controller, type ReconcileResult } from '../../kube/controllers/controller.ts';
import { type AccessOutcome, addOnStatusPatch, noAgentPatch } from './addon-status.ts';
import type { ManagementAddOnProblems } from './management-addon-status.ts';
import { agentRegistrations } from '../api/agent-identity.ts';
import { findDeploymentConfig, installNamespaceOf } from './deployment-config-reference.ts';
import type { ManifestsOutcome } from './manifest-applied.ts';
import { planHubAccess } from './plan-hub-access.ts';
import { type Applier, unseenMs } from '../runtime/applier.ts';
import { clusterSources, problemsOf } from './cluster-sources.ts';
import { Failures } from '../runtime/failures.ts';
import type { FleetState, HubStateCell } from '../hub/hub-state.ts';
import { byCluster, type Watches } from '../runtime/watches.ts';
import { controllerDefaults } from '../runtime/controller-defaults.ts';
import { findSame } from '../api/objects.ts';

export interface ClusterControllerOptions {
  readonly api: KubeApi;
  readonly applier: Applier;
  readonly watches: Watches;
  readonly state: HubStateCell;
  readonly findConfig: ConfigLookup;
  readonly agentInstallNamespace: string;
  readonly enableKubeApiProxy: boolean;
  readonly enableNetworkPolicies: boolean;
  readonly apiServerPorts: readonly number[];
  readonly clock: Clock;
  readonly wallClock: () => Date;
  readonly log: Logger;
}

/** What is known of one cluster while it is worked on. */
interface Pass {
  readonly addon: ManagedClusterAddOn;
  readonly cluster: ManagedCluster;
  readonly fleet: FleetState;
  /** Stands for the CA that signs agents' certificates. */
  readonly organizationalUnit: string;
  readonly failures: Failures;
  readonly signal: AbortSignal;
  /** Something was written so short a time ago that the caches do not show it. */
  isUnseen: boolean;
  /** So the caches show what was there before. */
  hasWritten: boolean;
  /** Rights that go once the agent has been told another way. */
  readonly outlived: KubeObject[];
}

/** Brings the addon of each cluster to what it shall be: the agent's rights on the hub, its ManifestWorks, the addon's status. */
export class ClusterController {
  readonly #options: ClusterControllerOptions;
  readonly #log: Logger;
  readonly controller: Controller;

  constructor(options: ClusterControllerOptions) {
    this.#options = options;
    this.#log = options.log.child({ controller: 'clusters' });
    this.controller = new Controller({
      name: 'clusters',
      sources: clusterSources(options.watches, options.state),
      reconcile: (cluster, signal) => this.#reconcile(cluster, signal),
      workers: 16,
      ...controllerDefaults,
      clock: options.clock,
      log: options.log,
    });
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { watches, state } = this.#options;
    const found = watches.addOns.get(`${name}/${addonName}`);
    const managed = watches.clusters.get(name);
    const addon = found && parseManagedClusterAddOn(found);
    const cluster = managed && parseManagedCluster(managed);
    if (addon === undefined || addon.isDeleting || cluster === undefined) {
      await this.#withdrawAccess(name, signal);
      return undefined;
    }
    if (!isClusterName(name)) return await this.#refuseName(addon, signal);
    if (!cluster.isAccepted) await this.#withdrawAccess(name, signal);
    if (state.value?.fleet === undefined) {
      if (state.lack !== undefined) await this.#sayNoAgent(addon, state.lack, signal);
      return undefined;
    }
    const { fleet, agentSigner } = state.value;
    const failures = new Failures();
    const pass: Pass = {
      addon,
      cluster,
      fleet,
      organizationalUnit: agentSigner.organizationalUnit,
      failures,
      signal,
      isUnseen: false,
      hasWritten: false,
      outlived: [],
    };
    const access = await this.#bringAccess(pass);
    const manifests = await this.#bringWorks(pass);
    await this.#dropOutlived(pass, manifests);
    await this.#writeStatus(pass, access, manifests);
    failures.throwIfAny();
    return pass.isUnseen ? { againAfterMs: 1.25 * unseenMs } : undefined;
  }

  /** A cluster with the alias of another cluster for its name gets no agent: dialers of the other cluster would reach it. */
  async #refuseName(addon: ManagedClusterAddOn, signal: AbortSignal): Promise<undefined> {
    await this.#withdrawAccess(addon.cluster, signal);
    for (const work of this.#options.watches.works.byIndex(byCluster, addon.cluster)) {
      if (isDeployWork(work.metadata.name)) await this.#delete(work, signal);
    }
    const why = `ManagedCluster ${addon.cluster} gets no agent: ${aliasAsNameText}`;
    await this.#sayNoAgent(addon, why, signal);
  }

  /** All that the agent of a cluster may do on the hub, wherever it is. */
  async #withdrawAccess(cluster: string, signal: AbortSignal): Promise<void> {
    for (const object of this.#accessOf(cluster)) await this.#delete(object, signal);
  }

  #accessOf(cluster: string): readonly KubeObject[] {
    const { RoleBinding, Role } = this.#options.watches.access;
    // Bindings first: nobody is left bound to a Role that somebody else could make anew.
    return [RoleBinding, Role].flatMap((informer) => informer.byIndex(byCluster, cluster));
  }

  async #bringAccess(pass: Pass): Promise<AccessOutcome> {
    const { addon, cluster, fleet, signal } = pass;
    const plan = planHubAccess(cluster, addon, fleet.tunnel, fleet.hubNamespace);
    const existing = this.#accessOf(cluster.name);
    const failures = new Failures();
    for (const object of plan.apply) {
      await failures.attempt(object, () => this.#apply(object, existing, pass));
    }
    const removed = new Set(plan.remove.map((ref) => `${ref.kind} ${ref.namespace}/${ref.name}`));
    for (const object of existing) {
      if (!removed.has(`${object.kind} ${keyOf(object)}`)) continue;
      if (plan.outcome.t === 'applied' && object.metadata.namespace === fleet.hubNamespace) {
        pass.outlived.push(object);
        continue;
      }
      await failures.attempt(object, () => this.#delete(object, signal));
    }
    if (failures.all.length === 0) return plan.outcome;
    pass.failures.addAll(failures);
    return { t: 'failed', message: failures.toString() };
  }

  async #bringWorks(pass: Pass): Promise<ManifestsOutcome> {
    const { addon, cluster, fleet, signal } = pass;
    const { watches, agentInstallNamespace, enableKubeApiProxy } = this.#options;
    const { enableNetworkPolicies, apiServerPorts } = this.#options;
    const rendered = renderAgent({
      cluster,
      addon,
      deploymentConfig: this.#deploymentConfigOf(addon),
      proxy: fleet.proxy,
      entrypoint: fleet.entrypoint,
      caBundle: fleet.caBundle,
      defaultInstallNamespace: agentInstallNamespace,
      leadsToApiserver: enableKubeApiProxy,
      hasNetworkPolicies: enableNetworkPolicies,
      apiServerPorts,
    });
    if (rendered.t === 'failed') return rendered;
    if (rendered.t === 'waiting') {
      this.#log.debug('no work yet', { cluster: cluster.name, reason: rendered.message });
      return this.#unconfigured(pass) ?? { t: 'waiting' };
    }
    const existing = watches.works.byIndex(byCluster, cluster.name);
    const failures = new Failures();
    for (const work of rendered.works) {
      await failures.attempt(work, () => this.#apply(work, existing, pass));
    }
    const wanted = new Set(rendered.works.map(({ metadata }) => metadata.name));
    for (const work of existing) {
      const { name } = work.metadata;
      if (failures.all.length > 0 || wanted.has(name) || !isDeployWork(name)) continue;
      await failures.attempt(work, () => this.#delete(work, signal));
    }
    if (failures.all.length > 0) {
      pass.failures.addAll(failures);
      return { t: 'failed', message: failures.toString() };
    }
    const stored = rendered.works.map((work) => findSame(existing, work) ?? work);
    const notices = rendered.notices.concat(this.#managementAddOn.unfollowed ?? []);
    return { t: 'stored', works: stored.map(parseManifestWork), notices };
  }

  /** What is said of a cluster that waits for OCM's addon manager, where that one will not come. */
  #unconfigured({ addon, cluster }: Pass): ManifestsOutcome | undefined {
    if (cluster.isDeleting || isTrue(addon.conditions, 'Configured')) return undefined;
    const message = this.#managementAddOn.unconfigured;
    return message === undefined ? undefined : { t: 'failed', message };
  }

  get #managementAddOn(): ManagementAddOnProblems {
    return problemsOf(this.#options.watches.managementAddOns.get(addonName));
  }

  /**
   * Takes the right to come through the kube-apiserver away where there is another entrypoint now, once the cluster has the work that says so:
   * until then its agent has no other way.
   */
  async #dropOutlived(pass: Pass, manifests: ManifestsOutcome): Promise<void> {
    const isTold = manifests.t === 'stored' && manifests.works.every(({ isApplied }) => isApplied);
    if (!isTold || pass.isUnseen || pass.hasWritten) return;
    for (const object of pass.outlived) {
      await pass.failures.attempt(object, () => this.#delete(object, pass.signal));
    }
  }

  async #writeStatus(pass: Pass, access: AccessOutcome, manifests: ManifestsOutcome) {
    const { addon, cluster, organizationalUnit, signal } = pass;
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
    if (patch !== undefined) await this.#patchStatus(addon, patch, signal);
  }

  /** As upstream, whose rendering fails then. What the cluster has goes on. */
  async #sayNoAgent(addon: ManagedClusterAddOn, why: string, signal: AbortSignal): Promise<void> {
    const patch = noAgentPatch(addon, why, this.#options.wallClock().getTime());
    if (patch !== undefined) await this.#patchStatus(addon, patch, signal);
  }

  async #patchStatus(addon: ManagedClusterAddOn, patch: Fields, signal: AbortSignal) {
    await this.#options.api.patch(addOnRef(addon), patch, { signal, subresource: 'status' });
  }

  #deploymentConfigOf(addon: ManagedClusterAddOn) {
    return findDeploymentConfig(addon, (namespace, name) => {
      const object = this.#options.watches.deploymentConfigs.get(`${namespace}/${name}`);
      return object && parseAddOnDeploymentConfig(object);
    });
  }

  async #apply(object: KubeObject, existing: readonly KubeObject[], pass: Pass): Promise<void> {
    const live = findSame(existing, object);
    const applied = await this.#options.applier.apply(object, live, pass.signal);
    if (applied === 'unseen') pass.isUnseen = true;
    if (applied !== 'written') return;
    pass.hasWritten = true;
    this.#log.debug('applied', { object: describeRef(refOf(object)) });
  }

  async #delete(object: KubeObject, signal: AbortSignal): Promise<void> {
    const { uid } = object.metadata;
    const isThere = await this.#options.api.delete(refOf(object), { signal, uid });
    this.#options.applier.forget(object);
    if (isThere) this.#log.info('deleted', { object: describeRef(refOf(object)) });
  }
}
