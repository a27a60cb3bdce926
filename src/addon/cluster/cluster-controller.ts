import { isDeepStrictEqual } from 'node:util';
import {
  type Controller,
  keysFrom,
  type ReconcileResult,
} from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { findDeploymentConfig, installNamespaceOf } from '../api/addon-deployment-config.ts';
import { agentRegistrations, organizationalUnitOf } from '../api/agent-identity.ts';
import { isTrue } from '../api/condition.ts';
import type { Fields } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { isDeployWork, parseManifestWork } from '../api/manifest-work.ts';
import { addonName, labels } from '../api/names.ts';
import { findObject, findSame } from '../api/objects.ts';
import type { FleetState, HubContext } from '../hub/hub-state.ts';
import { addonController } from '../runtime/controller-context.ts';
import { ObjectWriter, resultOf, throwFailures } from '../runtime/object-writer.ts';
import { isSameButVersion } from '../runtime/cached-object.ts';
import { keysOnChange } from '../runtime/observable.ts';
import { byCluster, byDeploymentConfig, ownersOf } from '../runtime/watches.ts';
import {
  type AccessOutcome,
  addOnStatusPatch,
  blockedStatusPatch,
  type ManifestsOutcome,
} from './addon-status.ts';
import type { AgentInput, AgentOptions } from './agent-values.ts';
import { managementAddOnProblems } from './management-addon.ts';
import { planHubAccess } from './hub-access.ts';
import { renderAgent } from './render-agent.ts';
import { aliasAsNameText, isClusterName } from '../../base/names/cluster-name.ts';

export type ClusterControllerOptions = HubContext & AgentOptions;

/** The reconcile of one cluster. */
interface Reconcile extends AgentInput, FleetState {
  /** For the rights on the hub. */
  readonly access: ObjectWriter;
  /** For ManifestWorks. */
  readonly works: ObjectWriter;
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
      sources: sourcesOf(options),
      reconcile: (cluster, signal) => this.#reconcile(cluster, signal),
    });
  }

  async #reconcile(name: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { watches, state } = this.#options;
    const { addon, cluster } = ownersOf(watches, name);
    if (addon === undefined || addon.isDeleting || cluster === undefined) {
      await this.#delete(this.#accessOf(name), signal);
      return undefined;
    }
    if (!isClusterName(name)) {
      await this.#refuseName(addon, signal);
      return undefined;
    }
    if (!cluster.isAccepted) await this.#delete(this.#accessOf(name), signal);
    const { fleet, agentSigner, blockedReason } = state.value;
    if (fleet === undefined || agentSigner === undefined) {
      if (blockedReason !== undefined) await this.#writeBlocked(addon, blockedReason, signal);
      return undefined;
    }
    const access = new ObjectWriter(this.#options, 'debug', signal);
    const works = new ObjectWriter(this.#options, 'debug', signal);
    const deploymentConfig = findDeploymentConfig(addon, watches.deploymentConfigs);
    const owners = { addon, cluster, deploymentConfig };
    const writers = { access, works, staleAccess: [] };
    const reconcile: Reconcile = { ...this.#options, ...fleet, ...owners, ...writers };
    const accessOutcome = await this.#reconcileAccess(reconcile);
    const manifests = await this.#reconcileWorks(reconcile);
    await this.#removeStaleAccess(reconcile, manifests);
    const patch = addOnStatusPatch({
      addon,
      registrations: agentRegistrations(name, organizationalUnitOf(agentSigner.certPem)),
      installNamespace: installNamespaceOf(deploymentConfig, this.#options.agentInstallNamespace),
      findConfig: watches.findConfig,
      access: accessOutcome,
      manifests,
      nowMs: this.#options.nowMs(),
    });
    await this.#patchStatus(addon, patch, signal);
    return resultOf(access, works);
  }

  /**
   * A cluster whose name is the alias of another cluster gets no agent, because dialers of the
   * other cluster would reach it.
   */
  async #refuseName(addon: ManagedClusterAddOn, signal: AbortSignal): Promise<void> {
    const works = this.#options.watches.works.byIndex(byCluster, addon.cluster);
    const deployWorks = works.filter(({ metadata }) => isDeployWork(metadata.name));
    await this.#delete([...this.#accessOf(addon.cluster), ...deployWorks], signal);
    const reason = `ManagedCluster ${addon.cluster} gets no agent: ${aliasAsNameText}`;
    await this.#writeBlocked(addon, reason, signal);
  }

  /** Deletes objects in this order, up to the first failure. */
  async #delete(objects: readonly KubeObject[], signal: AbortSignal): Promise<void> {
    const writer = new ObjectWriter(this.#options, 'debug', signal);
    for (const object of objects) {
      await writer.delete(object);
      throwFailures(writer);
    }
  }

  /** All rights of the cluster's agent on the hub. */
  #accessOf(cluster: string): readonly KubeObject[] {
    const { RoleBinding, Role } = this.#options.watches.access;
    // Bindings are deleted first. A binding without its Role would grant whatever a new Role of
    // that name allows.
    return [RoleBinding, Role].flatMap((informer) => informer.byIndex(byCluster, cluster));
  }

  async #reconcileAccess(reconcile: Reconcile): Promise<AccessOutcome> {
    const { addon, cluster, tunnel, hubNamespace, access, staleAccess } = reconcile;
    const plan = planHubAccess(cluster, addon, tunnel, hubNamespace);
    const existing = this.#accessOf(cluster.name);
    for (const object of plan.apply) await access.apply(object, findSame(existing, object));
    for (const { kind, name, namespace } of plan.remove) {
      const object = findObject(existing, kind, name, namespace);
      if (object === undefined) continue;
      const isOfHub = object.metadata.namespace === hubNamespace;
      if (plan.outcome.kind === 'applied' && isOfHub) staleAccess.push(object);
      else await access.delete(object);
    }
    const message = access.failure;
    return message === undefined ? plan.outcome : { kind: 'failed', message };
  }

  async #reconcileWorks(reconcile: Reconcile): Promise<ManifestsOutcome> {
    const { addon, cluster, works } = reconcile;
    const { watches, log } = this.#options;
    const rendered = renderAgent(reconcile);
    if (rendered.kind === 'failed') return rendered;
    const { unconfigured, unfollowed } = managementAddOnProblems(
      watches.managementAddOns.get(addonName),
    );
    if (rendered.kind === 'waiting') {
      log.debug('no work yet', { cluster: cluster.name, reason: rendered.message });
      const isExpected = cluster.isDeleting || isTrue(addon.conditions, 'Configured');
      // OCM's addon manager will not configure this cluster.
      const message = isExpected ? undefined : unconfigured;
      return message === undefined ? { kind: 'waiting' } : { kind: 'failed', message };
    }
    const existing = watches.works.byIndex(byCluster, cluster.name);
    for (const work of rendered.works) await works.apply(work, findSame(existing, work));
    for (const work of existing) {
      const isWanted = findSame(rendered.works, work) !== undefined;
      if (works.failure !== undefined || isWanted || !isDeployWork(work.metadata.name)) continue;
      await works.delete(work);
    }
    if (works.failure !== undefined) return { kind: 'failed', message: works.failure };
    const stored = rendered.works.map((work) =>
      parseManifestWork(findSame(existing, work) ?? work),
    );
    return { kind: 'stored', works: stored, notices: rendered.notices.concat(unfollowed ?? []) };
  }

  /**
   * Removes the right to connect through the kube-apiserver after the entrypoint has changed. The
   * cluster must have applied the work with the new entrypoint, because its agent has no other way
   * before that.
   */
  async #removeStaleAccess({ access, works, staleAccess }: Reconcile, manifests: ManifestsOutcome) {
    const isApplied =
      manifests.kind === 'stored' && manifests.works.every((work) => work.isApplied);
    if (!isApplied || [access, works].some((writer) => writer.isUnseen || writer.hasWritten))
      return;
    for (const object of staleAccess) await access.delete(object);
  }

  /** Reports why the cluster gets no agent now. Objects that exist stay as they are. */
  async #writeBlocked(addon: ManagedClusterAddOn, reason: string, signal: AbortSignal) {
    const patch = blockedStatusPatch(addon, reason, this.#options.nowMs());
    await this.#patchStatus(addon, patch, signal);
  }

  async #patchStatus(addon: ManagedClusterAddOn, patch: Fields | undefined, signal: AbortSignal) {
    if (patch === undefined) return;
    await this.#options.api.patch(addon.ref, patch, { signal, subresource: 'status' });
  }
}

/**
 * The events that trigger the reconcile of a cluster. Keys are names of clusters. Only an event
 * that concerns all clusters names all.
 */
function sourcesOf({ watches, state }: ClusterControllerOptions) {
  const { addOns, clusters, works, access, deploymentConfigs, managementAddOns } = watches;
  const inNamespace = (object: KubeObject) => object.metadata.namespace ?? '';
  const all = () => addOns.list().map(inNamespace);
  return [
    keysFrom(addOns, ({ old, now }) => [inNamespace((now ?? old)!)]),
    keysFrom(clusters, ({ key, old, now }) => (isSameButVersion(old, now) ? [] : [key])),
    keysFrom(works, ({ old, now }) => [inNamespace((now ?? old)!)]),
    ...Object.values(access).map((informer) =>
      keysFrom(informer, ({ old, now }) =>
        [old, now].flatMap((object) => object?.metadata.labels?.[labels.clusterName] ?? []),
      ),
    ),
    keysFrom(deploymentConfigs, ({ key }) =>
      addOns.byIndex(byDeploymentConfig, key).map(inNamespace),
    ),
    keysFrom(managementAddOns, ({ old, now }) =>
      isDeepStrictEqual(managementAddOnProblems(old), managementAddOnProblems(now)) ? [] : all(),
    ),
    // The hub can take long to become ready. Clusters that are removed must not wait for it.
    keysOnChange(state, all),
  ];
}
