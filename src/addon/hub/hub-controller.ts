import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import { parseConditions, withCondition } from '../api/condition.ts';
import { fields } from '../api/fields.ts';
import {
  type ManagedProxyConfiguration,
  parseManagedProxyConfiguration,
} from '../configuration/managed-proxy-configuration.ts';
import { proxyConfigurationName, tlsProfileName } from '../api/names.ts';
import { Controller, keysFrom, type ReconcileResult } from '../../kube/controllers/controller.ts';
import { nextStatus } from './hub-status.ts';
import { type HubPlan, type HubSettings, reconcileHub } from './plan-hub.ts';
import { type Applier, unseenMs } from '../runtime/applier.ts';
import { Failures } from '../runtime/failures.ts';
import {
  type CertificatesAim,
  HubCertificates,
  type HubCertificatesResult,
} from '../rotation/hub-certificates.ts';
import { fleetBehind } from '../rotation/rotation-laggards.ts';
import { HubNamespace } from './hub-namespace.ts';
import type { HubStateCell } from './hub-state.ts';
import { heldStateOf, hubStateOf, lackOf, noConfiguration, unreadHub } from './hub-state-of.ts';
import { inTheWay } from '../compat/name-conflict.ts';
import type { Watches } from '../runtime/watches.ts';
import { controllerDefaults } from '../runtime/controller-defaults.ts';
import { sayProblems } from '../api/field-problem.ts';
import { findObject } from '../api/objects.ts';

export interface HubControllerOptions {
  readonly api: KubeApi;
  readonly applier: Applier;
  readonly watches: Watches;
  readonly state: HubStateCell;
  readonly settings: HubSettings;
  /** Where the addon manager runs. */
  readonly namespace: string;
  readonly signerNamespace: string;
  readonly signerSecretName: string;
  /** Instead of the image that the configuration names for agents. */
  readonly agentImage: string | undefined;
  readonly clock: Clock;
  readonly wallClock: () => Date;
  readonly log: Logger;
}

/** Timers cannot be set for longer than 24 days, and the clock of the wall may be set: so it looks at least this often. */
const maxLookMs = 3_600_000;

/** Brings the hub's side to what the ManagedProxyConfiguration says: objects, certificates, its status, and what clusters start from. */
export class HubController {
  readonly #options: HubControllerOptions;
  readonly #log: Logger;
  readonly #inside: HubNamespace;
  readonly #certificates: HubCertificates;
  /** The same for the life of the process: until the cache has seen the Secret with it, it is made again. */
  readonly #replicaKey = randomBytes(24).toString('hex');
  readonly controller: Controller;

  constructor(options: HubControllerOptions) {
    const { api, applier, watches, signerNamespace, signerSecretName, clock, wallClock } = options;
    this.#options = options;
    this.#log = options.log.child({ controller: 'hub' });
    const onChange = () => this.controller.add(proxyConfigurationName);
    this.#inside = new HubNamespace({ api, clock, log: options.log, onChange });
    this.#certificates = new HubCertificates({
      api,
      applier,
      signerNamespace,
      signerSecretName,
      wallClock,
      behind: fleetBehind(watches, wallClock),
      log: options.log,
    });
    const { configurations, tlsProfiles, signers } = watches;
    const always = () => [proxyConfigurationName];
    this.controller = new Controller({
      name: 'hub',
      sources: [configurations, tlsProfiles, ...signers].map((from) => keysFrom(from, always)),
      reconcile: (_, signal) => this.#reconcile(signal),
      workers: 1,
      ...controllerDefaults,
      clock,
      log: options.log,
    });
  }

  /** What it follows besides the shared watches. */
  get informers() {
    return this.#inside.informers;
  }

  /** How far rotations of CAs are. */
  get rotations() {
    return this.#certificates.rotations;
  }

  async run(signal: AbortSignal): Promise<void> {
    // That there is no configuration has to be said as well.
    this.controller.add(proxyConfigurationName);
    await this.controller.run(signal);
    await this.#inside.close();
  }

  async #reconcile(signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const object = this.#options.watches.configurations.get(proxyConfigurationName);
    if (object === undefined) {
      this.#log.info('there is no ManagedProxyConfiguration, nothing is to be done', {
        name: proxyConfigurationName,
      });
      this.#options.state.clear(noConfiguration);
      await this.#inside.close();
      return undefined;
    }
    const configuration = parseManagedProxyConfiguration(object);
    try {
      await this.#inside.follow(configuration.spec.proxyServer.namespace, signal);
    } catch (thrown) {
      const { state } = this.#options;
      const why = describeError(thrown);
      if (!signal.aborted && state.value === undefined) state.clear(unreadHub(why));
      if (!signal.aborted) await this.#say(object, why, signal);
      throw thrown;
    }
    return await this.#bring(object, configuration, signal);
  }

  async #bring(
    object: KubeObject,
    configuration: ManagedProxyConfiguration,
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { watches, settings, namespace } = this.#options;
    const plan = reconcileHub({
      configuration,
      settings,
      objects: this.#inside.objects,
      tlsProfile: watches.tlsProfiles.get(`${namespace}/${tlsProfileName}`),
      freshReplicaKey: this.#replicaKey,
    });
    const failures = new Failures();
    const isHeld = configuration.problems.length > 0 || configuration.isDeleted;
    if (isHeld) {
      const reason = sayProblems(configuration.problems) || 'it is being deleted';
      this.#log.warn('the ManagedProxyConfiguration is not followed, what runs goes on', {
        reason,
      });
    }
    await this.#adopt(plan, signal);
    const [home, ...rest] = plan.apply;
    let isSeen = home === undefined || (await this.#apply([home], failures, signal));
    const certificates = await this.#bringCertificates(configuration, plan, failures, signal);
    isSeen = (await this.#apply(rest, failures, signal)) && isSeen;
    await this.#remove(plan, failures, signal);
    this.#publish(configuration, plan, certificates, failures);
    await this.#writeStatus(object, { configuration, plan, certificates, failures }, signal);
    failures.throwIfAny();
    const lookMs = lookAgainMs(certificates, this.#options.wallClock());
    return { againAfterMs: isSeen ? lookMs : Math.min(lookMs, 1.25 * unseenMs) };
  }

  /** They stay good also while the configuration is wrong: neither age nor a rotation waits for it. Undefined: all is going away. */
  async #bringCertificates(
    configuration: ManagedProxyConfiguration,
    { serverSans }: HubPlan,
    failures: Failures,
    signal: AbortSignal,
  ): Promise<HubCertificatesResult | undefined> {
    const { problems, isDeleted } = configuration;
    if (isDeleted) return undefined;
    const aim: CertificatesAim =
      problems.length === 0
        ? { t: 'follow', sans: serverSans }
        : { t: 'hold', standsStill: this.#options.state.value?.fleet === undefined };
    return await this.#certificates.reconcile(configuration, aim, failures, signal);
  }

  /** What clusters start from now; where there is nothing to start from, why. */
  #publish(
    configuration: ManagedProxyConfiguration,
    plan: HubPlan,
    certificates: HubCertificatesResult | undefined,
    failures: Failures,
  ): void {
    const { state, agentImage } = this.#options;
    const lack = lackOf(configuration, failures.all);
    const next =
      certificates &&
      (configuration.problems.length === 0
        ? hubStateOf(configuration, plan, certificates, agentImage)
        : heldStateOf(state.value, certificates));
    if (next !== undefined) state.set(next, next.fleet === undefined ? lack : undefined);
    else if (state.value === undefined) state.clear(lack);
  }

  async #adopt({ adopt }: HubPlan, signal: AbortSignal): Promise<void> {
    for (const { ref, patch } of adopt) {
      const live = this.#find(ref.kind, ref.name, ref.namespace);
      if (inTheWay(live) === undefined) await this.#options.api.patch(ref, patch, { signal });
    }
  }

  /** @returns whether the caches have seen what was written before */
  async #apply(
    objects: readonly KubeObject[],
    failures: Failures,
    signal: AbortSignal,
  ): Promise<boolean> {
    let isSeen = true;
    for (const object of objects) {
      const { name, namespace } = object.metadata;
      const live = this.#find(object.kind, name, namespace);
      const why = inTheWay(live);
      if (why !== undefined) {
        failures.add(describeRef(refOf(object)), why);
        continue;
      }
      await failures.attempt(object, async () => {
        const applied = await this.#options.applier.apply(object, live, signal);
        if (applied === 'unseen') isSeen = false;
        if (applied === 'written') {
          this.#log.info('applied', { object: describeRef(refOf(object)) });
        }
      });
    }
    return isSeen;
  }

  async #remove({ remove }: HubPlan, failures: Failures, signal: AbortSignal): Promise<void> {
    for (const ref of remove) {
      const live = this.#find(ref.kind, ref.name, ref.namespace);
      if (live === undefined) continue;
      await failures.attempt(live, async () => {
        await this.#options.api.delete(ref, { signal });
        this.#options.applier.forget(live);
        this.#log.info('deleted', { object: describeRef(ref) });
      });
    }
  }

  async #writeStatus(
    object: KubeObject,
    seen: {
      readonly configuration: ManagedProxyConfiguration;
      readonly plan: HubPlan;
      /** Undefined: they were not touched. */
      readonly certificates: HubCertificatesResult | undefined;
      readonly failures: Failures;
    },
    signal: AbortSignal,
  ): Promise<void> {
    const { configuration, plan, certificates, failures } = seen;
    const { name } = configuration;
    const { namespace } = configuration.spec.proxyServer;
    const status = nextStatus(object['status'], {
      generation: configuration.generation,
      plan,
      deployment: this.#find('Deployment', name, namespace),
      expiries:
        certificates?.expiries ?? (await this.#certificates.expiries(configuration, signal)),
      rotations: this.#certificates.rotations,
      failures: failures.all,
      nowMs: this.#options.wallClock().getTime(),
    });
    if (status !== undefined) await this.#patchStatus(object, { ...status }, signal);
  }

  /** For when nothing is known of the hub yet. */
  async #say(object: KubeObject, message: string, signal: AbortSignal): Promise<void> {
    const before = parseConditions(fields(object['status'])['conditions']);
    const now = {
      type: 'HubApplied',
      status: 'False',
      reason: 'CannotRead',
      message,
    } as const;
    const conditions = withCondition(before, now, this.#options.wallClock().getTime());
    if (conditions !== before) await this.#patchStatus(object, { conditions }, signal);
  }

  async #patchStatus(object: KubeObject, status: object, signal: AbortSignal): Promise<void> {
    const { uid, resourceVersion } = object.metadata;
    const patch = { metadata: { uid, resourceVersion }, status };
    await this.#options.api.patch(refOf(object), patch, { signal, subresource: 'status' });
  }

  #find(kind: string, name: string, namespace: string | undefined): KubeObject | undefined {
    return findObject(this.#inside.objects, kind, name, namespace);
  }
}

function lookAgainMs(certificates: HubCertificatesResult | undefined, now: Date): number {
  if (certificates === undefined) return maxLookMs;
  const untilMs = certificates.lookAgainAt.getTime() - now.getTime();
  return Math.min(maxLookMs, Math.max(1_000, untilMs));
}
