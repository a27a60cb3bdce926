import { type ConditionNow, kubeTime } from '../api/condition.ts';
import type { AuthorityPlan } from './authority-plan.ts';

/** What can be seen of the rotation of a CA. */
export interface RotationSeen extends Pick<AuthorityPlan, 'stage' | 'wait'> {
  /** `namespace/name` of the Secret with the CA. */
  readonly secret: string;
}

/** The two CAs; undefined: not looked at, or it cannot be read. */
export interface RotationsSeen {
  readonly konnectivity: RotationSeen | undefined;
  readonly agents: RotationSeen | undefined;
}

export const noRotations: RotationsSeen = { konnectivity: undefined, agents: undefined };

/** The conditions that say how far rotations are and whom they wait for. */
export function rotationConditions(rotations: RotationsSeen): readonly ConditionNow[] {
  const { konnectivity, agents } = rotations;
  const told = 'without what is trusted now';
  const signed = 'without a certificate of the new one in use';
  return [
    ...(konnectivity === undefined ? [] : [rotating('SignerRotating', konnectivity, told)]),
    ...(agents === undefined ? [] : [rotating('AgentSignerRotating', agents, signed)]),
  ];
}

/** The first three, and how many more there are. */
export function formatClusters(names: readonly string[]): string {
  const more = names.length - saidClusters;
  const said = names.slice(0, saidClusters).join(', ');
  return more > 0 ? `${said} and ${more} more` : said;
}
const saidClusters = 3;

function rotating(type: string, { secret, stage, wait }: RotationSeen, late: string): ConditionNow {
  if (stage === 'steady') {
    const message = `The CA in Secret ${secret} signs, and no other is trusted`;
    return { type, status: 'False', reason: 'Steady', message };
  }
  const is =
    stage === 'distributing'
      ? `The next CA in Secret ${secret} is trusted and signs nothing yet`
      : `The new CA in Secret ${secret} signs, and the one before is still trusted`;
  const reason = stage === 'distributing' ? 'Distributing' : 'Retiring';
  return { type, status: 'True', reason, message: `${is}; ${goesOn(wait, late)}` };
}

function goesOn(wait: RotationSeen['wait'], late: string): string {
  if (wait === undefined) return 'it stays so until Valid and HubApplied are True';
  const { until, atLatest, laggards } = wait;
  const own = `it goes on at ${kubeTime(until.getTime())}`;
  if (laggards.length === 0) return own;
  const count = laggards.length === 1 ? '1 cluster' : `${laggards.length} clusters`;
  const latest = kubeTime(atLatest.getTime());
  return `${own}, or until ${latest} waits for ${count} ${late}: ${formatClusters(laggards)}`;
}
