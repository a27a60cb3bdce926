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
export type ConditionNow = Readonly<ReturnType<typeof condition>>;

/** A condition, or the type of a condition to remove. */
export type WantedCondition = ConditionNow | Pick<Condition, 'type'>;

/** A condition that is true or false. */
export function condition(type: string, isTrue: boolean, reason: string, message: string) {
  return { type, status: isTrue ? 'True' : 'False', reason, message } as const;
}

/** The conditions in the status of an object. */
export function parseConditions(value: unknown): readonly Condition[] {
  return items(value).filter((item): item is Condition & typeof item => text(item.type) !== '');
}

export function findCondition(conditions: readonly Condition[], type: string) {
  return conditions.find((condition) => condition.type === type);
}

export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

/**
 * The conditions with `wanted` instead of those of the same types.
 *
 * @param wanted a type alone removes its condition
 */
export function withConditions(
  conditions: readonly Condition[],
  wanted: readonly WantedCondition[],
  nowMs: number,
): readonly Condition[] {
  const byType = new Map(conditions.map((condition) => [condition.type, condition]));
  for (const now of wanted) {
    const before = byType.get(now.type);
    const isSame = 'reason' in now && before?.status === now.status;
    const lastTransitionTime = isSame ? before.lastTransitionTime : kubeTime(nowMs);
    if ('reason' in now) byType.set(now.type, { ...before, ...shortened(now), lastTransitionTime });
    else byType.delete(now.type);
  }
  return [...byType.values()];
}

/** The API server refuses longer messages (32,768 characters). */
const maxMessageLength = 32_768;

function shortened(now: ConditionNow): ConditionNow {
  if (now.message.length <= maxMessageLength) return now;
  return { ...now, message: `${now.message.slice(0, maxMessageLength - 1)}…` };
}

/** A time as Kubernetes writes it: RFC 3339 in whole seconds. */
export function kubeTime(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
}
