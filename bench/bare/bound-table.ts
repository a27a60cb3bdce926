import type { Verdict } from '../goals.ts';
import type { PeerName } from '../peers.ts';
import { format, median, type Samples } from '../report.ts';

/** One link for each client, or one for all. The cheaper one is the bound. */
const plainNames: readonly PeerName[] = ['bare', 'bareShared'];
const grpcNames: readonly PeerName[] = ['bareGrpc', 'bareGrpcShared'];

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
    const choose = goal.atLeast === undefined ? Math.min : Math.max;
    const best = (names: readonly PeerName[]): number =>
      choose(...names.map((name) => at(figure, name)).filter((each) => !Number.isNaN(each)));
    const cells = [...limits, value, best(plainNames) / go, best(grpcNames) / go];
    lines.push(`| ${figure} | ${cells.map(format).join(' | ')} |`);
  }
  return lines.join('\n');
}
