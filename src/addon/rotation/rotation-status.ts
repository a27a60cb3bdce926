import { condition, type ConditionNow, kubeTime } from '../api/condition.ts';
import { listed } from '../api/fields.ts';
import type { AuthorityPlan } from './authority-rotation.ts';

/** The rotation of a CA, for conditions and metrics. */
export interface RotationSeen extends Pick<AuthorityPlan, 'stage' | 'wait'> {
  /** `namespace/name` of the Secret with the CA. */
  readonly secret: string;
}

/** The rotations of both CAs. Undefined: the CA was not read yet, or cannot be read. */
export type RotationsSeen = Readonly<Record<'konnectivity' | 'agents', RotationSeen | undefined>>;

export const noRotations: RotationsSeen = { konnectivity: undefined, agents: undefined };

/** The condition of each rotation, and what clusters lack for which it waits. */
const conditions = [
  ['SignerRotating', 'konnectivity', 'the newest CA bundle'],
  ['AgentSignerRotating', 'agents', 'a certificate of the new CA'],
] as const;

/** The conditions for the stages of both rotations and the clusters that they wait for. */
export function rotationConditions(rotations: RotationsSeen): readonly ConditionNow[] {
  return conditions.flatMap(([type, ca, lacks]) => {
    const seen = rotations[ca];
    return seen === undefined ? [] : [rotating(type, seen, lacks)];
  });
}

/** The first three names, and the number of the others. */
export const formatClusters = (names: readonly string[]): string => listed(names, 3);

function rotating(type: string, { secret, stage, wait }: RotationSeen, lacks: string) {
  const ca = `CA in Secret ${secret}`;
  if (stage === 'steady') {
    return condition(type, false, 'Steady', `The ${ca} signs, and no other is trusted`);
  }
  const [reason, state] =
    stage === 'distributing'
      ? ['Distributing', `The next ${ca} is trusted and signs nothing yet`]
      : ['Retiring', `The new ${ca} signs, and the previous CA is still trusted`];
  return condition(type, true, reason, `${state}; ${nextStep(wait, lacks)}`);
}

function nextStep(wait: RotationSeen['wait'], lacks: string): string {
  if (wait === undefined) return 'the rotation is paused until Valid and HubApplied are True';
  const { until, atLatest, laggards } = wait;
  const step = `the next stage begins at ${kubeTime(until.getTime())}`;
  if (laggards.length === 0) return step;
  const count = laggards.length === 1 ? '1 cluster' : `${laggards.length} clusters`;
  const latest = kubeTime(atLatest.getTime());
  return `${step}, or at the latest at ${latest} while it waits for ${count} without ${lacks}: ${formatClusters(laggards)}`;
}
