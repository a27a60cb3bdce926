import { isDeepStrictEqual } from 'node:util';
import { type Condition, type ConditionNow, withCondition } from '../api/condition.ts';
import {
  type ConfigLookup,
  type ConfigReferent,
  isSameConfig,
  isSameKind,
  parseConfigReference,
} from '../api/config-reference.ts';
import { type Fields, fields, items } from '../api/fields.ts';
import { type ManagedClusterAddOn, versionOf } from '../api/managed-cluster-addon.ts';
import { configKinds } from '../api/names.ts';
import { type Registration, registrationJson } from '../api/registration-config.ts';
import { type ManifestsOutcome, withManifestApplied } from './manifest-applied.ts';
import { nextRegistrations } from './registrations.ts';

/** How far the rights of `hubAccess` have come. */
export type AccessOutcome =
  | { readonly t: 'applied' }
  | { readonly t: 'pending'; readonly message: string }
  | { readonly t: 'failed'; readonly message: string };

export interface AddOnStatusInput {
  readonly addon: ManagedClusterAddOn;
  /** As `agentRegistrations` makes them for this cluster. */
  readonly registrations: readonly Registration[];
  /** See `installNamespaceOf`; undefined leaves what is there. */
  readonly installNamespace: string | undefined;
  readonly findConfig: ConfigLookup;
  readonly access: AccessOutcome;
  readonly manifests: ManifestsOutcome;
  /** Wall clock, for conditions. */
  readonly nowMs: number;
}

/**
 * What to write into the status of a ManagedClusterAddOn: a JSON merge patch of its `status` subresource, or undefined where all is
 * said already, or the addon is being removed.
 *
 * Written are the parts that OCM leaves to an addon: supportedConfigs, registrations, namespace, healthCheck, the observed
 * generations, the hashes of configurations that the addon object itself refers to, and the conditions RegistrationApplied and
 * ManifestApplied. Configured, Progressing and all other references and hashes are written by OCM's addon manager; Available and
 * ClusterCertificateRotated by the klusterlet. As several write to the same lists, the patch holds the version that it was made
 * from: a conflict means to look again.
 */
export function addOnStatusPatch(input: AddOnStatusInput): Fields | undefined {
  const { addon, nowMs } = input;
  const { status } = addon;
  if (addon.isDeleting) return undefined;
  const applied = withCondition(addon.conditions, registrationApplied(input.access), nowMs);
  const next: Record<string, unknown> = {
    supportedConfigs: nextSupportedConfigs(status.supportedConfigs),
    registrations: nextRegistrationList(input),
    namespace: input.installNamespace ?? status.namespace,
    healthCheck: nextHealthCheck(status.healthCheck),
    configReferences: nextConfigReferences(addon, input.findConfig),
    conditions: nextConditions(status.conditions, addon.conditions, applied, input),
  };
  const changed = Object.entries(next).filter(([key, value]) => value !== status[key]);
  if (changed.length === 0) return undefined;
  return {
    metadata: { uid: addon.uid, resourceVersion: addon.resourceVersion },
    status: Object.fromEntries(changed),
  };
}

/** The same where no agent can be rendered for any cluster: the condition ManifestApplied alone, with the reason. */
export function noAgentPatch(
  { isDeleting, conditions, uid, resourceVersion }: ManagedClusterAddOn,
  message: string,
  nowMs: number,
): Fields | undefined {
  const after = withManifestApplied(conditions, { t: 'failed', message }, nowMs);
  if (isDeleting || after === conditions) return undefined;
  return { metadata: { uid, resourceVersion }, status: { conditions: after } };
}

function registrationApplied(access: AccessOutcome): ConditionNow {
  const type = 'RegistrationApplied';
  if (access.t === 'applied') {
    const message = 'Registration of the addon agent is configured';
    return { type, status: 'True', reason: 'SetPermissionApplied', message };
  }
  const reason = access.t === 'pending' ? 'PermissionConfigPending' : 'SetPermissionFailed';
  return { type, status: 'False', reason, message: access.message };
}

// Each of the following gives back what it was given where nothing is to be changed: identity is how a change is found.

function nextConditions(
  raw: unknown,
  before: readonly Condition[],
  applied: readonly Condition[],
  { manifests, nowMs }: AddOnStatusInput,
): unknown {
  const after = withManifestApplied(applied, manifests, nowMs);
  return after === before ? raw : after;
}

function nextSupportedConfigs(before: unknown): unknown {
  const supported = [configKinds.proxyConfiguration, configKinds.deploymentConfig];
  const present = items(before);
  const isSame =
    present.length === supported.length &&
    supported.every((kind) => present.some((item) => isDeepStrictEqual(item, kind)));
  return isSame ? before : supported;
}

function nextRegistrationList({ addon, registrations }: AddOnStatusInput): unknown {
  const next = nextRegistrations(registrations, addon);
  if (isDeepStrictEqual(next, addon.registrations)) return addon.status.registrations;
  return next.map((registration) => registrationJson(registration, versionOf(addon), addon.driver));
}

/** By the lease. "Customized" would tell the klusterlet to look away. */
function nextHealthCheck(before: unknown): unknown {
  return fields(before).mode === 'Lease' ? before : { mode: 'Lease' };
}

function nextConfigReferences(addon: ManagedClusterAddOn, findConfig: ConfigLookup): unknown {
  const before = addon.status.configReferences;
  const present = items(before);
  const after = present.map((item) => withConfigState(item, addon.configs, findConfig));
  return after.every((item, index) => item === present[index]) ? before : after;
}

function withConfigState(
  item: Fields,
  ownConfigs: readonly ConfigReferent[],
  findConfig: ConfigLookup,
): Fields {
  const { desired, lastObservedGeneration } = parseConfigReference(item);
  if (desired === undefined || !isSupported(desired)) return item;
  const state = findConfig(desired);
  if (state === undefined) return item;
  // Hashes of defaults come through the ClusterManagementAddOn, at the pace of the rollout: not from here.
  const isOwn = ownConfigs.some((config) => isSameConfig(config, desired));
  const specHash = isOwn ? state.specHash : desired.specHash;
  const isSame = lastObservedGeneration === state.generation && specHash === desired.specHash;
  if (isSame) return item;
  const desiredConfig = isOwn ? { ...fields(item.desiredConfig), specHash } : item.desiredConfig;
  return { ...item, lastObservedGeneration: state.generation, desiredConfig };
}

function isSupported(config: ConfigReferent): boolean {
  return Object.values(configKinds).some((kind) => isSameKind(kind, config));
}
