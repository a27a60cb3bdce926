import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import {
  condition,
  type ConditionNow,
  kubeTime,
  parseConditions,
  type WantedCondition,
  withConditions,
} from '../api/condition.ts';
import { formatProblems } from '../api/field-problem.ts';
import { fields, integer } from '../api/fields.ts';
import { hubSecrets } from '../api/names.ts';
import type { CertificateExpiries } from '../rotation/hub-certificates.ts';
import { rotationConditions, type RotationsSeen } from '../rotation/rotation-status.ts';
import { isRolledOut } from './broker-deployment.ts';
import type { HubPlan } from './plan-hub.ts';

export interface HubStatusObserved {
  readonly generation: number;
  readonly plan: HubPlan;
  /** The live Deployment of the brokers. */
  readonly deployment: KubeObject | undefined;
  readonly expiries: CertificateExpiries;
  /** The condition of an undefined rotation stays as it is. */
  readonly rotations: RotationsSeen;
  /** See `ObjectWriter`. */
  readonly failure: string | undefined;
  readonly nowMs: number;
}

/**
 * The new status. Conditions of other programs are kept.
 *
 * @returns undefined when nothing changes
 */
export function nextStatus(current: unknown, observed: HubStatusObserved) {
  const { generation, nowMs } = observed;
  const before = parseConditions(fields(current)['conditions']);
  const conditions = withConditions(before, wantedConditions(observed), nowMs);
  const isSame =
    isDeepStrictEqual(conditions, before) &&
    fields(current)['lastObservedGeneration'] === generation;
  return isSame ? undefined : { lastObservedGeneration: generation, conditions };
}

function wantedConditions(observed: HubStatusObserved): readonly WantedCondition[] {
  const { plan, expiries, failure } = observed;
  const problems = formatProblems(plan.problems);
  const ignored = formatProblems(plan.ignored);
  return [
    deployed(observed.deployment, plan.replicas),
    signed('ProxyServerSecretSigned', expiries.proxyServer),
    signed('AgentServerSecretSigned', expiries.agentServer),
    signed('ProxyClientSecretSigned', expiries.proxyClient),
    plan.wantsUserServer
      ? userServerSigned(expiries.userServer)
      : { type: 'UserServerSecretSigned' },
    ...rotationConditions(observed.rotations),
    problems === ''
      ? condition('Valid', true, 'Valid', 'Every field is understood')
      : condition('Valid', false, 'Invalid', problems),
    ignored === ''
      ? condition('IgnoredFields', false, 'NoneIgnored', 'Every field has an effect')
      : condition('IgnoredFields', true, 'FieldsIgnored', ignored),
    entrypointReady(plan.entrypoint),
    failure === undefined
      ? condition('HubApplied', true, 'Applied', 'Every object is as it should be')
      : condition('HubApplied', false, 'ApplyFailed', failure),
  ];
}

/** Cluster Proxy sets this condition when the Deployment exists. Here its pods must serve. */
function deployed(deployment: KubeObject | undefined, wanted: number): ConditionNow {
  const isDeployed = isRolledOut(deployment, wanted);
  const reason = isDeployed ? 'SuccessfullyDeployed' : 'NotYetDeployed';
  const replicas = integer(fields(deployment?.['status'])['replicas']) ?? 0;
  return condition('ProxyServerDeployed', isDeployed, reason, `Replicas: ${replicas}`);
}

function signed(type: string, expiryMs: number | undefined): ConditionNow {
  if (expiryMs === undefined) return condition(type, false, 'NotYetSigned', '');
  // Go prints times like this: `2027-05-21 18:23:00 +0000 UTC`.
  const [day, time] = kubeTime(expiryMs).slice(0, -1).split('T');
  return condition(type, true, 'SuccessfullySigned', `Expiry:${day} ${time} +0000 UTC`);
}

/** Cluster Proxy reports the condition only when the Secret exists. */
function userServerSigned(expiryMs: number | undefined): ConditionNow {
  const type = 'UserServerSecretSigned';
  if (expiryMs !== undefined) return signed(type, expiryMs);
  const message = `There is no Secret ${hubSecrets.userServer}, so nothing serves the user-server: set spec.userServer, or create the Secret`;
  return condition(type, false, 'NotYetSigned', message);
}

function entrypointReady(entrypoint: HubPlan['entrypoint']): ConditionNow {
  const type = 'EntrypointReady';
  if ('pending' in entrypoint) return condition(type, false, 'Pending', entrypoint.pending);
  const message =
    entrypoint.kind === 'PortForward'
      ? `Agents connect through the kube-apiserver to ${entrypoint.viaHub}`
      : `Agents connect to ${entrypoint.url}`;
  return condition(type, true, entrypoint.kind, message);
}
