import type { Verdict } from '../goals.ts';
import type { PeerName } from '../peers.ts';
import { format, median, type Samples } from '../report.ts';

/**
 * A Markdown table of the promises whose figures the bare chain has, in Go's figures. The last
 * column is for a client that speaks gRPC. A dial of such a client is measured. A speed is
 * calculated: the client needs as much CPU time per GiB as in culvert's run, and all processes
 * together get as much CPU time as in culvert's run.
 */
export function boundTable(samples: Samples, promised: readonly Verdict[]): string {
  const at = (figure: string, peer: PeerName): number =>
    median(samples.get(figure)?.get(peer) ?? []);
  const lines = [
    '| x Go | floor | goal | culvert | bare chain | bare chain with a gRPC client |',
    '|---|---:|---:|---:|---:|---:|',
  ];
  for (const { figure, value, goal, floor } of promised) {
    const go = at(figure, 'upstream');
    const [, direction, what] = /^(up|down) MB\/s, (.*)/.exec(figure) ?? [];
    const cpu = (tunnel: PeerName, client: PeerName): number =>
      at(`${direction} CPU s/GiB, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of target, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of load generator, ${what}`, client);
    const withGrpc =
      direction === undefined
        ? at(figure, 'bareDial') / go
        : value * (cpu('culvert', 'culvert') / cpu('bare', 'culvert'));
    const limits = [floor, goal].map((limit) => limit?.atLeast ?? limit?.atMost ?? Number.NaN);
    const cells = [...limits, value, at(figure, 'bare') / go, withGrpc];
    lines.push(`| ${figure} | ${cells.map(format).join(' | ')} |`);
  }
  return lines.join('\n');
}
