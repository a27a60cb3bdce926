import type { FrontKind } from './culvert-pair.ts';
import { format, type Row } from './report.ts';

/** A limit of a figure: at least, or at most. */
interface Limit {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** What a figure of culvert should reach, and what it must not fall below. */
interface Promised {
  readonly figure: string;
  /** Whether the limits are for culvert's figure in that of upstream, or for the figure itself. */
  readonly of: 'ratio' | 'figure';
  readonly goal: Limit;
  readonly floor?: Limit;
}

const stalled = 'share kept by 7 streams beside a stalled one';
const crowd = 'CPU per GiB with 1,000 streams, in that of one';
const far = '1 stream at 20 ms round trip';
const fairness = 'fairness: p99 of 20 interactive streams beside a bulk stream, in that alone';

const promises: Readonly<Record<FrontKind, readonly Promised[]>> = {
  mtls: [
    speed('up MB/s, 1 stream', 2.5, 1.8),
    speed('up MB/s, 16 streams', 2.5, 1.8),
    speed('down MB/s, 1 stream', 3, 2.5),
    speed('down MB/s, 16 streams', 4, 3),
    cost('up CPU s/GiB, 1 stream', 0.35),
    cost('up CPU s/GiB, 16 streams', 0.35),
    cost('down CPU s/GiB, 1 stream', 0.35),
    cost('down CPU s/GiB, 16 streams', 0.35),
    cost('round trip p50 us', 0.7),
    cost('dial p50 us', 0.9, 1),
    cost('dial p99 us', 1.2),
    speed('up MB/s, 1 stream, 1 KiB writes', 4),
    speed(`up MB/s, ${far}`, 2.5),
    speed(`down MB/s, ${far}`, 2.5),
    { figure: `up: ${stalled}`, of: 'figure', goal: { atLeast: 0.95 } },
    { figure: `down: ${stalled}`, of: 'figure', goal: { atLeast: 0.95 } },
    { figure: `up: ${crowd}`, of: 'figure', goal: { atMost: 1.2 } },
    { figure: `down: ${crowd}`, of: 'figure', goal: { atMost: 1.2 } },
    { figure: fairness, of: 'figure', goal: { atMost: 2 } },
  ],
  uds: [
    speed('up MB/s, 1 stream', 1, 1),
    speed('up MB/s, 16 streams', 1, 1),
    speed('down MB/s, 1 stream', 1.3, 1.3),
    speed('down MB/s, 16 streams', 1.3, 1.3),
    cost('round trip p50 us', 1.3, 1.3),
    { figure: `up: ${stalled}`, of: 'figure', goal: { atLeast: 0.9 }, floor: { atLeast: 0.9 } },
    { figure: `down: ${stalled}`, of: 'figure', goal: { atLeast: 0.9 }, floor: { atLeast: 0.9 } },
  ],
};

/** A promise and what was measured. */
export interface Verdict extends Promised {
  readonly value: number;
}

/** The promises of a front whose figures were measured. */
export function verdicts(front: FrontKind, all: readonly Row[]): Verdict[] {
  return promises[front].flatMap((promised) => {
    const row = all.find(({ figure }) => figure === promised.figure);
    if (row === undefined) return [];
    const value = promised.of === 'ratio' ? row.ratio : row.ours;
    return [{ ...promised, value }];
  });
}

/** A Markdown table of the goals and the floors, and whether they hold. */
export function goalTable(all: readonly Verdict[]): string {
  const lines = [
    '| goal | measured | goal | holds | floor | holds |',
    '|---|---:|---:|---|---:|---|',
  ];
  for (const { figure, of, value, goal, floor } of all) {
    const unit = of === 'ratio' ? ' x Go' : '';
    const [goalHolds, floorHolds] = [holds(value, goal), floor && holds(value, floor)];
    lines.push(
      `| ${figure} | ${format(value)}${unit} | ${limitText(goal)} | ${yes(goalHolds)} | ` +
        `${floor === undefined ? '' : limitText(floor)} | ${floorHolds === undefined ? '' : yes(floorHolds)} |`,
    );
  }
  return lines.join('\n');
}

/** The figures that break their floor. */
export function brokenFloors(all: readonly Verdict[]): string[] {
  return all.flatMap(({ figure, value, floor }) =>
    floor === undefined || holds(value, floor)
      ? []
      : [`${figure}: ${format(value)}, the floor is ${limitText(floor)}`],
  );
}

function speed(figure: string, goal: number, floor?: number): Promised {
  const limits = floor === undefined ? {} : { floor: { atLeast: floor } };
  return { figure, of: 'ratio', goal: { atLeast: goal }, ...limits };
}

function cost(figure: string, goal: number, floor?: number): Promised {
  const limits = floor === undefined ? {} : { floor: { atMost: floor } };
  return { figure, of: 'ratio', goal: { atMost: goal }, ...limits };
}

function holds(value: number, { atLeast = -Infinity, atMost = Infinity }: Limit): boolean {
  return value >= atLeast && value <= atMost;
}

function limitText({ atLeast, atMost }: Limit): string {
  return atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
}

function yes(isTrue: boolean): string {
  return isTrue ? 'yes' : '**no**';
}
