import type { PeerName } from './peers.ts';

/** Samples of every figure, by figure and peer. */
export type Samples = Map<string, Map<PeerName, number[]>>;

export interface Row {
  readonly figure: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
}

/** A figure of culvert alone, with its upper limit. */
export interface ScaleRow {
  readonly figure: string;
  readonly value: number;
  readonly atMost?: number;
}

/** A Markdown table of figures of culvert alone. */
export function scaleTable(all: readonly ScaleRow[]): string {
  const lines = ['| figure | value | at most |', '|---|---:|---:|'];
  for (const { figure, value, atMost } of all) {
    lines.push(`| ${figure} | ${format(value)} | ${atMost ?? ''} |`);
  }
  return lines.join('\n');
}

export function addSamples(
  samples: Samples,
  peer: PeerName,
  figures: Readonly<Record<string, number>>,
): void {
  for (const [figure, value] of Object.entries(figures)) {
    const byPeer = samples.get(figure) ?? new Map<PeerName, number[]>();
    byPeer.set(peer, [...(byPeer.get(peer) ?? []), value]);
    samples.set(figure, byPeer);
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The figures of culvert and upstream, for `--json`. */
export function rows(samples: Samples): Row[] {
  return Array.from(samples, ([figure, byPeer]) => {
    const ours = median(byPeer.get('culvert') ?? []);
    const peer = median(byPeer.get('upstream') ?? []);
    return { figure, ours, peer, ratio: ours / peer };
  });
}

const columns: readonly (readonly [PeerName, string])[] = [
  ['culvert', 'culvert'],
  ['baseline', 'baseline'],
  ['apart', 'bridge apart'],
  ['upstream', 'Go'],
  ['bare', 'bare chain'],
  ['bareShared', 'bare, one link'],
  ['bareGrpc', 'bare, gRPC'],
  ['bareGrpcShared', 'bare, gRPC, one link'],
  ['relay', 'Node relay'],
  ['direct', 'direct'],
];

/** A Markdown table for people: medians of all peers, and culvert's figure in the others'. */
export function table(samples: Samples): string {
  const measured = columns.filter(([peer]) => samples.values().some((byPeer) => byPeer.has(peer)));
  const hasBaseline = measured.some(([peer]) => peer === 'baseline');
  const titles = [...measured.map(([, title]) => title), 'culvert / Go'];
  if (hasBaseline) titles.push('culvert / baseline');
  const lines = [
    `| figure | ${titles.join(' | ')} |`,
    `|---|${titles.map(() => '---:|').join('')}`,
  ];
  for (const { figure, ours, ratio } of rows(samples)) {
    const at = (peer: PeerName): number => median(samples.get(figure)!.get(peer) ?? []);
    const cells = measured.map(([peer]) => format(at(peer)));
    cells.push(format(ratio));
    if (hasBaseline) cells.push(format(ours / at('baseline')));
    lines.push(`| ${figure} | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

export function format(value: number): string {
  if (!Number.isFinite(value)) return '';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
