import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CulvertEgress, type BridgeForm } from './support/culvert-egress.ts';
import type { Egress } from './support/egress.ts';
import { startHub, type Hub } from './support/hub.ts';
import {
  FollowedLogs,
  Load,
  loadIntervalMs,
  loadKinds,
  type FollowedResult,
  type LoadKind,
  type LoadResult,
} from './support/load.ts';
import { grpcOverUds } from './support/modes.ts';
import { egressPrograms } from './support/prepare.ts';
import { UpstreamEgress } from './support/upstream-egress.ts';

/** With `npm run e2e -- egress --faults`, every row of the table in docs/egress-selector.md. */
const isLong = process.env['E2E_FAULTS'] === 'all';

interface Fault {
  readonly name: string;
  readonly agents: number;
  readonly cause: (egress: Egress) => Promise<void>;
  /** Whether connections through a bridge beside the kube-apiserver survive it. */
  readonly streamsSurvive?: boolean;
  /** How many more requests of a kind may fail than with upstream, with a bridge beside (default 0). */
  readonly moreFailures?: number;
}

function brokerDown(seconds: number, agents: number): Fault {
  return {
    name: `broker killed, down ${seconds} s, ${agents} agent${agents === 1 ? '' : 's'}`,
    agents,
    cause: (egress) => egress.killBroker(1000 * seconds),
    streamsSurvive: true,
  };
}

const agentKilled: Fault = {
  name: 'one of two agents killed',
  agents: 2,
  cause: (egress) => egress.killAgent(),
  // Requests that were in flight on connections of the agent.
  moreFailures: 2,
};
const agentsRolled: Fault = {
  name: 'two agents replaced one after the other',
  agents: 2,
  cause: (egress) => egress.rollAgents(),
  // Requests on a connection that outlives the drain of its agent.
  moreFailures: 2,
};
const faults = isLong
  ? [
      brokerDown(0, 1),
      brokerDown(1, 1),
      brokerDown(1, 2),
      brokerDown(5, 2),
      agentKilled,
      agentsRolled,
    ]
  : [brokerDown(1, 2), agentKilled, agentsRolled];

interface Measured {
  readonly load: LoadResult;
  readonly followed: FollowedResult;
}

const programs = await egressPrograms();

async function measure(hub: Hub, egress: Egress, fault: Fault): Promise<Measured> {
  const load = await Load.start(hub);
  await using logs = await FollowedLogs.start(hub);
  // Agents that have just connected may all have been cut, so a dialer waits for them longer.
  await load.untilSteady();
  await fault.cause(egress);
  await load.untilSteady();
  await logs.untilLater();
  return { load: await load.stop(), followed: await logs.stop() };
}

describe('A kube-apiserver under load, whose egress has a fault', () => {
  let stack: AsyncDisposableStack;
  let hub: Hub;
  const rows: string[] = [];

  beforeAll(async () => {
    await using starting = new AsyncDisposableStack();
    hub = starting.use(await startHub(programs, { connection: grpcOverUds.connection }));
    starting.defer(() => console.log(table(rows)));
    stack = starting.move();
  });
  afterAll(() => stack.disposeAsync());

  const culvert = async (form: BridgeForm, fault: Fault): Promise<Measured> => {
    const frontArgs = grpcOverUds.frontArgs(hub);
    await using egress = await CulvertEgress.start(hub, { form, agents: fault.agents, frontArgs });
    const measured = await measure(hub, egress, fault);
    rows.push(row(fault.name, egress.name, measured));
    return measured;
  };
  const upstream = async (fault: Fault): Promise<Measured> => {
    await using egress = await UpstreamEgress.start(hub, programs.upstream, fault);
    const measured = await measure(hub, egress, fault);
    rows.push(row(fault.name, egress.name, measured));
    return measured;
  };

  // A webhook has ten seconds, and requests queue on a connection that is cut later. A machine that
  // stalls for seconds decides both, so a failure counts when it is repeated.
  it.each(faults)(
    'with a bridge beside it loses at most the requests on connections that the fault cuts: $name',
    { retry: 2 },
    async (fault) => {
      const theirs = await upstream(fault);
      const ours = await culvert('beside', fault);
      // On a busy machine more requests are in flight when a connection is cut.
      const inFlight = Math.ceil(ours.load.control.gapMs / loadIntervalMs);
      const allowed = (kind: LoadKind) =>
        fault.moreFailures === undefined
          ? 0
          : theirs.load[kind].failed + fault.moreFailures + inFlight;
      const tooMany = loadKinds.filter((kind) => ours.load[kind].failed > allowed(kind));
      expect(tooMany).toEqual([]);
      expect(ours.followed.missing).toBe(0);
      const survived = ours.followed.endedWith === undefined;
      expect(survived || fault.streamsSurvive !== true).toBe(true);
      if (isLong) await culvert('inside', fault);
    },
  );
});

function row(fault: string, egress: string, { load, followed }: Measured): string {
  const cells = loadKinds.map((kind) => {
    const { failed, gapMs } = load[kind];
    return `${failed} / ${(gapMs / 1000).toFixed(1)} s`;
  });
  for (const kind of loadKinds) {
    const { firstFailure } = load[kind];
    if (firstFailure !== undefined) console.log(`${egress}, ${fault}: ${kind}: ${firstFailure}`);
  }
  const end = followed.endedWith === undefined ? 'goes on' : `ended with ${followed.endedWith}`;
  const logs = `${end}, ${followed.missing} of ${followed.lines} lines missing`;
  return `| ${[fault, egress, ...cells, logs].join(' | ')} |`;
}

function table(rows: readonly string[]): string {
  const head = ['fault', 'egress', ...loadKinds, 'logs -f'];
  const rule = head.map(() => '---');
  return [`| ${head.join(' | ')} |`, `| ${rule.join(' | ')} |`, ...rows].join('\n');
}
