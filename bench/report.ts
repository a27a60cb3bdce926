import { floors, stalledFloor, type PeerName } from './figures.ts';

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

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The figures of culvert and upstream, for `--json`. */
export function rows(samples: Samples): Row[] {
  return Array.from(samples, ([figure, byPeer]) => {
    const ours = median(byPeer.get('ours') ?? []);
    const peer = median(byPeer.get('upstream') ?? []);
    return { figure, ours, peer, ratio: ours / peer };
  });
}

/** The promises that these figures break. Empty when all hold. */
export function brokenFloors(all: readonly Row[]): string[] {
  return all.flatMap(({ figure, ours, ratio }) => {
    const { atLeast, atMost } = floors[figure] ?? {};
    if (figure.includes('beside a stalled one') && !(ours >= stalledFloor)) {
      return [`${figure}: ${format(ours)}, at least ${stalledFloor} is promised`];
    }
    if (atLeast !== undefined && !(ratio >= atLeast)) {
      return [`${figure}: ${format(ratio)} x upstream, at least ${atLeast} is promised`];
    }
    if (atMost !== undefined && !(ratio <= atMost)) {
      return [`${figure}: ${format(ratio)} x upstream, at most ${atMost} is promised`];
    }
    return [];
  });
}

const columns: readonly (readonly [PeerName, string])[] = [
  ['ours', 'culvert'],
  ['oursApart', 'bridge apart'],
  ['upstream', 'Go'],
  ['relay', 'Node relay'],
  ['direct', 'direct'],
];

/** A Markdown table for people: medians of all peers, and ours / Go. */
export function table(samples: Samples): string {
  const measured = columns.filter(([peer]) => samples.values().some((byPeer) => byPeer.has(peer)));
  const lines = [
    `| figure | ${measured.map(([, title]) => title).join(' | ')} | culvert / Go |`,
    `|---|${measured.map(() => '---:|').join('')}---:|`,
  ];
  for (const { figure, ratio } of rows(samples)) {
    const cells = measured.map(([peer]) => format(median(samples.get(figure)!.get(peer) ?? [])));
    lines.push(`| ${figure} | ${cells.join(' | ')} | ${format(ratio)} |`);
  }
  return lines.join('\n');
}

function format(value: number): string {
  if (!Number.isFinite(value)) return '';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
