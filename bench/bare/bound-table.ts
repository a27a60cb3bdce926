import type { Verdict } from '../goals.ts';
import type { PeerName } from '../peers.ts';
import { format, median, type Samples } from '../report.ts';

/** One link for each client, or one for all. The cheaper one is the bound. */
const bareNames: readonly PeerName[] = ['bare', 'bareShared'];

/** A Markdown table of the promises whose figures the bare chain has, in Go's figures. */
export function boundTable(samples: Samples, promised: readonly Verdict[]): string {
  const at = (figure: string, peer: PeerName): number =>
    median(samples.get(figure)?.get(peer) ?? []);
  const lines = [
    '| x Go | floor | goal | culvert | bare chain | bare chain with a gRPC client |',
    '|---|---:|---:|---:|---:|---:|',
  ];
  for (const { figure, value, goal, floor } of promised) {
    const go = at(figure, 'upstream');
    const limits = [floor, goal].map((limit) => limit?.atLeast ?? limit?.atMost ?? Number.NaN);
    const bare = measured(bareNames.map((name) => at(figure, name)));
    const best = goal.atLeast === undefined ? Math.min(...bare) : Math.max(...bare);
    const cells = [...limits, value, best / go, at(figure, 'bareGrpc') / go];
    lines.push(`| ${figure} | ${cells.map(format).join(' | ')} |`);
  }
  return lines.join('\n');
}

function measured(values: readonly number[]): readonly number[] {
  return values.filter((value) => !Number.isNaN(value));
}
