import {
  type Condition,
  type ConditionNow,
  kubeTime,
  parseConditions,
  withCondition,
  withoutCondition,
} from '../api/condition.ts';
import { fields, integer } from '../api/fields.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { isRolledOut } from './broker-rollout.ts';
import type { HubPlan } from './plan-hub.ts';
import { rotationConditions, type RotationsSeen } from '../rotation/rotation-status.ts';
import { sayProblems, type FieldProblem } from '../api/field-problem.ts';
import type { CertificateExpiries } from '../rotation/hub-certificates.ts';
import type { ObjectFailure } from '../runtime/failures.ts';

/** `status` of a ManagedProxyConfiguration. */
export interface ConfigurationStatus {
  readonly lastObservedGeneration: number;
  readonly conditions: readonly Condition[];
}

export interface HubStatusObserved {
  readonly generation: number;
  readonly plan: HubPlan;
  /** The live Deployment of the brokers. */
  readonly deployment: KubeObject | undefined;
  readonly expiries: CertificateExpiries;
  /** What is undefined is said as before. */
  readonly rotations: RotationsSeen;
  readonly failures: readonly ObjectFailure[];
  readonly nowMs: number;
}

/**
 * The status that is to be written; undefined where it says nothing new. Conditions of others are kept, and
 * lastTransitionTime moves with the status of its condition alone.
 */
export function nextStatus(
  current: unknown,
  observed: HubStatusObserved,
): ConfigurationStatus | undefined {
  const { generation, nowMs } = observed;
  const before = parseConditions(fields(current)['conditions']);
  let conditions = before;
  for (const now of conditionsNow(observed)) {
    conditions =
      'reason' in now
        ? withCondition(conditions, now, nowMs)
        : withoutCondition(conditions, now.type);
  }
  const isSame =
    conditions === before && integer(fields(current)['lastObservedGeneration']) === generation;
  return isSame ? undefined : { lastObservedGeneration: generation, conditions };
}

/** A condition, or the type of one that is not to be there. */
type Wanted = ConditionNow | { readonly type: string };

function conditionsNow({
  plan,
  deployment,
  expiries,
  rotations,
  failures,
}: HubStatusObserved): readonly Wanted[] {
  return [
    deployed(deployment, plan.replicas),
    signed('ProxyServerSecretSigned', expiries.proxyServer),
    signed('AgentServerSecretSigned', expiries.agentServer),
    signed('ProxyClientSecretSigned', expiries.proxyClient),
    // Cluster Proxy's, of before an upgrade: nobody renews that certificate here.
    { type: 'UserServerSecretSigned' },
    ...rotationConditions(rotations),
    valid(plan.problems),
    ignoredFields(plan.ignored),
    entrypointReady(plan.entrypoint),
    applied(failures),
  ];
}

/** Upstream says so as soon as the Deployment exists; here its pods must serve. */
function deployed(deployment: KubeObject | undefined, wanted: number): ConditionNow {
  const isDeployed = isRolledOut(deployment, wanted);
  return {
    type: 'ProxyServerDeployed',
    status: isDeployed ? 'True' : 'False',
    reason: isDeployed ? 'SuccessfullyDeployed' : 'NotYetDeployed',
    message: `Replicas: ${integer(fields(deployment?.['status'])['replicas']) ?? 0}`,
  };
}

function signed(type: string, expiryMs: number | undefined): ConditionNow {
  if (expiryMs === undefined) return { type, status: 'False', reason: 'NotYetSigned', message: '' };
  // Go's way to print a time: `2027-05-21 18:23:00 +0000 UTC`.
  const [day, time] = kubeTime(expiryMs).slice(0, -1).split('T');
  const message = `Expiry:${day} ${time} +0000 UTC`;
  return { type, status: 'True', reason: 'SuccessfullySigned', message };
}

function valid(problems: readonly FieldProblem[]): ConditionNow {
  const type = 'Valid';
  return problems.length === 0
    ? { type, status: 'True', reason: 'Valid', message: 'Every field is understood' }
    : { type, status: 'False', reason: 'Invalid', message: sayProblems(problems) };
}

function ignoredFields(ignored: readonly FieldProblem[]): ConditionNow {
  const type = 'IgnoredFields';
  return ignored.length === 0
    ? { type, status: 'False', reason: 'NoneIgnored', message: 'Every field has an effect' }
    : { type, status: 'True', reason: 'FieldsIgnored', message: sayProblems(ignored) };
}

function entrypointReady(entrypoint: HubPlan['entrypoint']): ConditionNow {
  const type = 'EntrypointReady';
  if ('pending' in entrypoint) {
    return { type, status: 'False', reason: 'Pending', message: entrypoint.pending };
  }
  const message =
    entrypoint.kind === 'PortForward'
      ? `Agents connect through the kube-apiserver to ${entrypoint.viaHub}`
      : `Agents connect to ${entrypoint.url}`;
  return { type, status: 'True', reason: entrypoint.kind, message };
}

function applied(failures: readonly ObjectFailure[]): ConditionNow {
  const type = 'HubApplied';
  if (failures.length === 0) {
    return { type, status: 'True', reason: 'Applied', message: 'Every object is as it should be' };
  }
  const message = failures.map(({ object, sentence }) => `${object}: ${sentence}`).join('; ');
  return { type, status: 'False', reason: 'ApplyFailed', message };
}
