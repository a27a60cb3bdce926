import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { describeError } from '../../base/error.ts';
import {
  type Controller,
  keysFrom,
  type ReconcileResult,
} from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import { condition, parseConditions, withConditions } from '../api/condition.ts';
import { formatProblems } from '../api/field-problem.ts';
import { fields } from '../api/fields.ts';
import { proxyConfigurationName, tlsProfileName } from '../api/names.ts';
import { findObject, findSame } from '../api/objects.ts';
import { nameConflict } from '../compat/name-conflict.ts';
import {
  type ManagedProxyConfiguration,
  parseManagedProxyConfiguration,
} from '../configuration/managed-proxy-configuration.ts';
import {
  HubCertificates,
  type HubCertificatesOptions,
  type HubCertificatesResult,
} from '../rotation/hub-certificates.ts';
import { hubNames } from '../rotation/leaf-plan.ts';
import { addonController, patchStatus } from '../runtime/controller-context.ts';
import { ObjectWriter, resultOf } from '../runtime/object-writer.ts';
import { NamespaceCache } from '../runtime/namespace-cache.ts';
import { hubCollections, untilHubRead } from './hub-namespace.ts';
import {
  blockedHubState,
  type HubContext,
  nextHubState,
  noConfiguration,
  unreadHub,
} from './hub-state.ts';
import { nextStatus } from './hub-status.ts';
import type { HubSettings } from './broker-args.ts';
import { type HubPlan, planHub } from './plan-hub.ts';

export interface HubControllerOptions extends HubContext, HubCertificatesOptions, HubSettings {
  /** The namespace of the addon manager. */
  readonly namespace: string;
  /** Overrides the image of agents in the configuration. */
  readonly agentImage: string | undefined;
}

/**
 * Timers cannot be longer than 24 days, and a person can set the wall clock. So the hub is
 * reconciled at least this often.
 */
const maxIntervalMs = 3_600_000;

/** The reconcile of a configuration. */
interface Reconcile {
  readonly object: KubeObject;
  readonly configuration: ManagedProxyConfiguration;
  readonly plan: HubPlan;
  readonly writer: ObjectWriter;
  readonly signal: AbortSignal;
}

/**
 * Reconciles the hub with the ManagedProxyConfiguration: objects, certificates, the status of the
 * configuration, and the `HubState` from which clusters are reconciled.
 */
export class HubController {
  readonly #options: HubControllerOptions;
  /** Live objects of the hub. */
  readonly cache: NamespaceCache;
  readonly certificates: HubCertificates;
  /**
   * Constant for the life of the process, because the Secret is applied again until the cache has
   * seen it.
   */
  readonly #replicaKey = randomBytes(24).toString('hex');
  readonly controller: Controller;

  constructor(options: HubControllerOptions) {
    const { api, clock, watches } = options;
    const { configurations, tlsProfiles, signers } = watches;
    const log = options.log.child({ controller: 'hub' });
    this.#options = { ...options, log };
    const onChange = () => this.controller.add(proxyConfigurationName);
    const collectionsOf = hubCollections;
    this.cache = new NamespaceCache({ api, clock, log: options.log, onChange, collectionsOf });
    this.certificates = new HubCertificates(this.#options);
    const always = () => [proxyConfigurationName];
    this.controller = addonController(options, {
      name: 'hub',
      sources: [configurations, tlsProfiles, ...signers].map((from) => keysFrom(from, always)),
      reconcile: (_, signal) => this.#reconcile(signal),
      workers: 1,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    // The absence of a configuration must be published as well, and no event announces it.
    this.controller.add(proxyConfigurationName);
    await this.controller.run(signal);
    await this.cache.close();
  }

  async #reconcile(signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { watches, namespace, log, state, agentImage } = this.#options;
    const object = watches.configurations.get(proxyConfigurationName);
    if (object === undefined) {
      log.info('no ManagedProxyConfiguration, nothing to do', { name: proxyConfigurationName });
      state.set(blockedHubState(noConfiguration));
      await this.cache.close();
      return undefined;
    }
    const configuration = parseManagedProxyConfiguration(object);
    try {
      const { namespace } = configuration.spec.proxyServer;
      this.cache.follow(namespace);
      await untilHubRead(this.cache, namespace, this.#options.clock, signal);
    } catch (thrown) {
      if (!signal.aborted) await this.#reportUnreadable(object, describeError(thrown), signal);
      throw thrown;
    }
    const plan = planHub({
      configuration,
      settings: this.#options,
      objects: this.cache.objects,
      tlsProfile: watches.tlsProfiles.get(`${namespace}/${tlsProfileName}`),
      freshReplicaKey: this.#replicaKey,
    });
    const writer = new ObjectWriter(this.#options, 'info', signal);
    const reconcile: Reconcile = { object, configuration, plan, writer, signal };
    const certificates = await this.#reconcilePlan(reconcile);
    const { failure } = writer;
    state.set(nextHubState(state.value, configuration, plan, certificates, failure, agentImage));
    await this.#writeStatus(reconcile, certificates);
    const dueMs = certificates && certificates.lookAgainAt.getTime() - this.#options.nowMs();
    const { againAfterMs = maxIntervalMs } = resultOf(writer) ?? {};
    return { againAfterMs: Math.min(againAfterMs, Math.max(1_000, dueMs ?? maxIntervalMs)) };
  }

  /** @returns undefined when the configuration is being deleted */
  async #reconcilePlan(reconcile: Reconcile): Promise<HubCertificatesResult | undefined> {
    const { configuration, plan, writer, signal } = reconcile;
    const { problems, isDeleted } = configuration;
    const { log, state } = this.#options;
    if (problems.length > 0 || isDeleted) {
      const reason = formatProblems(problems) || 'it is being deleted';
      log.warn('ManagedProxyConfiguration not applied, running objects stay', { reason });
    }
    for (const { ref, patch } of plan.takeOwnership) await writer.patch(ref, patch);
    const [namespace, ...others] = plan.apply;
    if (namespace !== undefined) await this.#apply(namespace, writer);
    // Certificates are renewed even while the configuration has problems, because their age does
    // not wait for a correction.
    const certificates = isDeleted
      ? undefined
      : await this.certificates.reconcile(configuration, writer, signal, {
          // Without the names, certificates are renewed with the names that they have.
          names: problems.length === 0 ? hubNames(plan.serverSans) : undefined,
          userServerNames: plan.userServerSans && hubNames(plan.userServerSans),
          paused: problems.length > 0 && state.value.fleet === undefined,
        });
    for (const object of others) await this.#apply(object, writer);
    for (const live of plan.remove) await writer.delete(live);
    return certificates;
  }

  async #apply(object: KubeObject, writer: ObjectWriter): Promise<void> {
    const live = findSame(this.cache.objects, object);
    const conflict = nameConflict(live);
    if (conflict === undefined) await writer.apply(object, live);
    else writer.fail(describeRef(refOf(object)), conflict);
  }

  async #writeStatus(
    { object, configuration, plan, writer, signal }: Reconcile,
    certificates: HubCertificatesResult | undefined,
  ): Promise<void> {
    const { name, generation } = configuration;
    const { namespace } = configuration.spec.proxyServer;
    const status = nextStatus(object['status'], {
      generation,
      plan,
      deployment: findObject(this.cache.objects, 'Deployment', name, namespace),
      expiries: certificates?.expiries ?? (await this.certificates.expiries(configuration, signal)),
      rotations: this.certificates.rotations,
      failure: writer.failure,
      nowMs: this.#options.nowMs(),
    });
    if (status !== undefined) await patchStatus(this.#options.api, object, status, signal);
  }

  /** Reports that the namespace of the hub cannot be read, so nothing else is known. */
  async #reportUnreadable(object: KubeObject, message: string, signal: AbortSignal): Promise<void> {
    const { state } = this.#options;
    if (state.value.agentSigner === undefined) state.set(blockedHubState(unreadHub(message)));
    const before = parseConditions(fields(object['status'])['conditions']);
    const now = condition('HubApplied', false, 'CannotRead', message);
    const conditions = withConditions(before, [now], this.#options.nowMs());
    if (isDeepStrictEqual(conditions, before)) return;
    await patchStatus(this.#options.api, object, { conditions }, signal);
  }
}
