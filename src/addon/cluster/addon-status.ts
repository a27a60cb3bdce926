import { isDeepStrictEqual } from 'node:util';
import { type ConditionNow, condition, findCondition, withConditions } from '../api/condition.ts';
import { type ConfigLookup, isSameConfig, mappedReferences } from '../api/config-reference.ts';
import { type Fields, fields, items } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { configKinds } from '../api/names.ts';
import { type Registration, registrationJson } from '../api/registration-config.ts';
import type { ManifestWorkState } from '../api/manifest-work.ts';
import { statusPatch } from '../runtime/controller-context.ts';
import { nextRegistrations } from './registrations.ts';

/** The state of the agent's rights on the hub. */
export type AccessOutcome =
  | { readonly kind: 'applied' }
  | { readonly kind: 'pending' | 'failed'; readonly message: string };

/** The state of the agent's objects on their way to the cluster. */
export type ManifestsOutcome =
  /**
   * Nothing is rendered, because OCM has not configured the addon yet or the addon is being
   * removed.
   */
  | { readonly kind: 'waiting' }
  /** The objects cannot be rendered or stored. The cluster keeps those that it has. */
  | { readonly kind: 'failed'; readonly message: string }
  | {
      readonly kind: 'stored';
      readonly works: readonly ManifestWorkState[];
      /** Sentences about settings that are accepted and have no effect. */
      readonly notices: readonly string[];
    };

export interface AddOnStatusInput {
  readonly addon: ManagedClusterAddOn;
  /** Those of `agentRegistrations` for this cluster. */
  readonly registrations: readonly Registration[];
  /** See `installNamespaceOf`. Undefined: the namespace in the status stays. */
  readonly installNamespace: string | undefined;
  readonly findConfig: ConfigLookup;
  readonly access: AccessOutcome;
  readonly manifests: ManifestsOutcome;
  /** The time of day, for conditions. */
  readonly nowMs: number;
}

/**
 * The status of a ManagedClusterAddOn, as a JSON merge patch of its `status` subresource.
 *
 * The patch contains what OCM leaves to an addon: supportedConfigs, registrations, namespace,
 * healthCheck, the observed generations, the hashes of configurations that the addon object refers
 * to by itself, and the conditions RegistrationApplied and ManifestApplied. OCM's addon manager
 * writes Configured, Progressing and all other references and hashes. The klusterlet writes
 * Available and ClusterCertificateRotated. Because several programs write the same lists, the patch
 * has a resourceVersion, and a conflict repeats the reconcile.
 *
 * @returns undefined when nothing changes, or the addon is being removed
 */
export function addOnStatusPatch(input: AddOnStatusInput): Fields | undefined {
  const { addon, nowMs } = input;
  const { status } = addon;
  const wanted = [registrationApplied(input.access), ...manifestApplied(addon, input.manifests)];
  const next = {
    supportedConfigs: nextSupportedConfigs(status.supportedConfigs),
    registrations: nextRegistrationList(input),
    namespace: input.installNamespace ?? status.namespace,
    healthCheck: nextHealthCheck(status.healthCheck),
    configReferences: nextConfigReferences(addon, input.findConfig),
    conditions: withConditions(addon.conditions, wanted, nowMs),
  };
  return addon.isDeleting ? undefined : statusPatch(addon, next);
}

/** The status of an addon that gets no agent now: the condition ManifestApplied with the reason. */
export function blockedStatusPatch(addon: ManagedClusterAddOn, message: string, nowMs: number) {
  const wanted = manifestApplied(addon, { kind: 'failed', message });
  const next = { conditions: withConditions(addon.conditions, wanted, nowMs) };
  return addon.isDeleting ? undefined : statusPatch(addon, next);
}

function registrationApplied(access: AccessOutcome): ConditionNow {
  const type = 'RegistrationApplied';
  if (access.kind === 'applied') {
    const message = 'Registration of the addon agent is configured';
    return condition(type, true, 'SetPermissionApplied', message);
  }
  const reason = access.kind === 'pending' ? 'PermissionConfigPending' : 'SetPermissionFailed';
  return condition(type, false, reason, access.message);
}

/** The condition ManifestApplied for `outcome`. Empty: it stays as it is. */
function manifestApplied({ conditions }: ManagedClusterAddOn, outcome: ManifestsOutcome) {
  const type = 'ManifestApplied';
  if (outcome.kind === 'waiting') return [];
  if (outcome.kind === 'failed') {
    return [condition(type, false, 'ManifestWorkApplyFailed', outcome.message)];
  }
  const { works, notices } = outcome;
  const failures = works.flatMap(failuresOf);
  if (failures.length > 0) {
    return [condition(type, false, 'AddonManifestAppliedFailed', failures.join('; '))];
  }
  if (works.length > 0 && works.every(({ applied }) => applied?.status === 'True')) {
    const message = ['manifests of addon are applied successfully', ...notices].join('; ');
    return [condition(type, true, 'AddonManifestApplied', message)];
  }
  // The work agent has not answered yet. An earlier failure is outdated, an earlier success may
  // still be true.
  return findCondition(conditions, type)?.status === 'False' ? [{ type }] : [];
}

function failuresOf({ namespace, name, applied, manifests }: ManifestWorkState): string[] {
  if (applied?.status !== 'False') return [];
  const where = `ManifestWork ${namespace}/${name}`;
  const failed = manifests.flatMap(({ object, applied }) => {
    if (applied?.status !== 'False') return [];
    return [`${where}: the work agent could not apply ${object}: ${applied.message}`];
  });
  if (failed.length > 0) return failed;
  return [`${where}: the work agent could not apply it: ${applied.message}`];
}

/** In any order. */
function nextSupportedConfigs(before: unknown): unknown {
  const supported = Object.values(configKinds);
  return isDeepStrictEqual(new Set(items(before)), new Set(supported)) ? before : supported;
}

function nextRegistrationList({ addon, registrations }: AddOnStatusInput): unknown {
  const next = nextRegistrations(registrations, addon);
  if (isDeepStrictEqual(next, addon.registrations)) return addon.status.registrations;
  return next.map((registration) => registrationJson(registration, addon.version, addon.driver));
}

/**
 * `Lease` makes the klusterlet check the agent's lease. With `Customized` it would check nothing.
 */
function nextHealthCheck(before: unknown): unknown {
  return fields(before).mode === 'Lease' ? before : { mode: 'Lease' };
}

function nextConfigReferences(addon: ManagedClusterAddOn, findConfig: ConfigLookup): unknown {
  const { configReferences } = addon.status;
  return mappedReferences(configReferences, findConfig, (item, desired, state) => {
    // OCM copies hashes of default configurations from the ClusterManagementAddOn, at the pace of
    // the rollout.
    const isOwn = addon.configs.some((config) => isSameConfig(config, desired));
    const { generation: lastObservedGeneration, specHash } = state;
    const desiredConfig = { ...fields(item.desiredConfig), ...(isOwn && { specHash }) };
    return { ...item, lastObservedGeneration, desiredConfig };
  });
}
