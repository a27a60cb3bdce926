import { items, text } from './fields.ts';

/** A metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** In CamelCase, for programs. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  /** RFC 3339, whole seconds. */
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

/**
 * A condition as a controller states it. `lastTransitionTime` follows from the condition before.
 */
export type ConditionNow = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** A condition that is true or false. */
export function condition(
  type: string,
  isTrue: boolean,
  reason: string,
  message: string,
): ConditionNow {
  return { type, status: isTrue ? 'True' : 'False', reason, message };
}

/** The conditions in the status of an object. */
export function parseConditions(value: unknown): readonly Condition[] {
  return items(value).filter((item): item is Condition & typeof item => text(item.type) !== '');
}

export function findCondition(
  conditions: readonly Condition[],
  type: string,
): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

/** The list with `now` instead of the condition of its type. The same list when nothing changes. */
export function withCondition(
  conditions: readonly Condition[],
  now: ConditionNow,
  nowMs: number,
): readonly Condition[] {
  const before = findCondition(conditions, now.type);
  const message = shortened(now.message);
  const isSameStatus = before?.status === now.status;
  if (isSameStatus && before.reason === now.reason && before.message === message) return conditions;
  const lastTransitionTime = isSameStatus ? before.lastTransitionTime : kubeTime(nowMs);
  const after: Condition = { ...before, ...now, message, lastTransitionTime };
  if (before === undefined) return [...conditions, after];
  return conditions.map((condition) => (condition === before ? after : condition));
}

/** The list without conditions of that type. The same list when there are none. */
export function withoutCondition(
  conditions: readonly Condition[],
  type: string,
): readonly Condition[] {
  return findCondition(conditions, type) === undefined
    ? conditions
    : conditions.filter((condition) => condition.type !== type);
}

/** The API server refuses longer messages (32,768 characters). */
const maxMessageLength = 32_768;

function shortened(message: string): string {
  return message.length <= maxMessageLength
    ? message
    : `${message.slice(0, maxMessageLength - 1)}…`;
}

/** A time as Kubernetes writes it: RFC 3339 in whole seconds. */
export function kubeTime(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
}
