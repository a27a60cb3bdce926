import type { Verdict } from '../goals.ts';
import type { PeerName } from '../peers.ts';
import { format, median, type Samples } from '../report.ts';

/**
 * A Markdown table of the promises whose figures the bare chain has, in Go's figures. It has two
 * bounds for a speed: what the bare chain reached with a client that speaks only TLS, and what it
 * would reach with a client that needs the CPU time of the Go konnectivity client, if all processes
 * together got as much CPU time as in culvert's run.
 */
export function boundTable(samples: Samples, promised: readonly Verdict[]): string {
  const at = (figure: string, peer: PeerName): number =>
    median(samples.get(figure)?.get(peer) ?? []);
  const lines = [
    '| x Go | floor | goal | culvert | bare chain | bare chain with a gRPC client, calculated |',
    '|---|---:|---:|---:|---:|---:|',
  ];
  for (const { figure, value, goal, floor } of promised) {
    const go = at(figure, 'upstream');
    const [, direction, what] = /^(up|down) MB\/s, (.*)/.exec(figure) ?? [];
    const cpu = (tunnel: PeerName, client: PeerName): number =>
      at(`${direction} CPU s/GiB, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of target, ${what}`, tunnel) +
      at(`${direction} CPU s/GiB of load generator, ${what}`, client);
    const withGrpc = value * (cpu('culvert', 'culvert') / cpu('bare', 'culvert'));
    const limits = [floor, goal].map((limit) => limit?.atLeast ?? limit?.atMost ?? Number.NaN);
    const cells = [...limits, value, at(figure, 'bare') / go, withGrpc];
    lines.push(`| ${figure} | ${cells.map(format).join(' | ')} |`);
  }
  return lines.join('\n');
}
