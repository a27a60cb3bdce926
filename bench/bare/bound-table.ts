import type { Verdict } from '../goals.ts';
import type { PeerName } from '../peers.ts';
import { format, median, type Samples } from '../report.ts';

/** One link for each client, or one for all. The cheaper one is the bound. */
const bareNames: readonly PeerName[] = ['bare', 'bareShared'];

/**
 * A Markdown table of the promises whose figures the bare chain has, in Go's figures. The last
 * column is for a client that speaks gRPC. A dial of such a client is measured. A speed is
 * calculated: the client needs as much CPU time per GiB as in culvert's run, and all processes
 * together get as much CPU time as in the run of culvert or of the bare chain, whichever is more.
 */
export function boundTable(samples: Samples, promised: readonly Verdict[]): string {
  const at = (figure: string, peer: PeerName): number =>
    median(samples.get(figure)?.get(peer) ?? []);
  /** The calculated speed, in MB/s. */
  const speedWithGrpc = (direction: string, what: string): number => {
    const cpu = (tunnel: PeerName, client: PeerName): number =>
      at(`${direction} CPU s/GiB, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of target, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of load generator, ${what}`, client);
    const usedCpu = (peer: PeerName): number =>
      at(`${direction} MB/s, ${what}`, peer) * cpu(peer, peer);
    const used = Math.max(usedCpu('culvert'), ...measured(bareNames.map(usedCpu)));
    return used / Math.min(...measured(bareNames.map((name) => cpu(name, 'culvert'))));
  };
  const lines = [
    '| x Go | floor | goal | culvert | bare chain | bare chain with a gRPC client |',
    '|---|---:|---:|---:|---:|---:|',
  ];
  for (const { figure, value, goal, floor } of promised) {
    const [, direction = '', what = ''] = /^(up|down) MB\/s, (.*)/.exec(figure) ?? [];
    const withGrpc = direction === '' ? at(figure, 'bareDial') : speedWithGrpc(direction, what);
    const go = at(figure, 'upstream');
    const limits = [floor, goal].map((limit) => limit?.atLeast ?? limit?.atMost ?? Number.NaN);
    const isSpeed = goal.atLeast !== undefined;
    const bare = measured(bareNames.map((name) => at(figure, name)));
    const best = isSpeed ? Math.max(...bare) : Math.min(...bare);
    const cells = [...limits, value, best / go, withGrpc / go];
    lines.push(`| ${figure} | ${cells.map(format).join(' | ')} |`);
  }
  return lines.join('\n');
}

function measured(values: readonly number[]): readonly number[] {
  return values.filter((value) => !Number.isNaN(value));
}
