import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { runProgram } from '../../testkit/processes/process.ts';
import { NetworkNamespace } from '../../testkit/network/network-namespace.ts';
import { format, median } from '../report.ts';
import {
  figureNames,
  httpMeasurements,
  listMib,
  listNamespace,
  type Figures,
  type HttpScale,
} from './http-figures.ts';
import {
  nodeAddress,
  startWays,
  wayNames,
  type WayName,
  type Ways,
  type WaysPrograms,
} from './ways.ts';

export interface CompareHttpOptions {
  readonly isQuick: boolean;
  /** Beginnings of the names of the measurements (default: all). */
  readonly only: readonly string[] | undefined;
  readonly repetitions: number | undefined;
  /** A file for the figures. */
  readonly json: string | undefined;
  /** The directory for CPU profiles of culvert, which is then measured alone. */
  readonly cpuProfiles: string | undefined;
}

type Samples = Map<string, Map<WayName, number[]>>;

const quickScale: HttpScale = {
  repetitions: 1,
  seconds: 1,
  roundTrips: 500,
  transferMib: 64,
};
const fullScale: HttpScale = {
  repetitions: 3,
  seconds: 2,
  roundTrips: 2000,
  transferMib: 256,
};
const limitMs = 30 * 60_000;
const objectKib = 900;

/** Runs this command again in a network namespace of its own. @returns the exit code */
export async function compareHttpApart(): Promise<number> {
  await using namespace = await NetworkNamespace.create();
  await namespace.addAddress(nodeAddress);
  const args = [process.argv[1]!, ...process.argv.slice(2), '--inside', namespace.name];
  const program = namespace.inside({ command: process.execPath, args, name: 'bench' });
  const { code, output } = await runProgram({ ...program, timeoutMs: limitMs });
  console.log(output);
  return code ?? 1;
}

/** Measures all ways in turns and prints the tables. @returns the exit code: 1 if a goal is missed */
export async function compareHttp(
  programs: WaysPrograms,
  options: CompareHttpOptions,
): Promise<number> {
  const { isQuick, only, json, cpuProfiles } = options;
  const scale = isQuick ? quickScale : fullScale;
  const { repetitions = scale.repetitions } = options;
  const chosen = httpMeasurements.filter(
    ({ name }) => only === undefined || only.some((start) => name.startsWith(start.trim())),
  );
  await using ways = await startWays(programs, {
    names: cpuProfiles === undefined ? wayNames : ['culvert'],
    cpuProfiles,
  });
  await prepareObjects(
    ways,
    chosen.some(({ name }) => name === 'list'),
  );
  const samples: Samples = new Map();
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    console.log(`repetition ${repetition} of ${repetitions} ...`);
    for (const { ways: candidates = wayNames, run } of chosen) {
      for (const way of candidates.flatMap((name) => ways.byName.get(name) ?? [])) {
        addFigures(samples, way.name, await run(programs.http.load, way, ways, scale));
      }
    }
  }
  const machine = `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})`;
  console.log(`\nmedians of ${repetitions}, ${machine}, Node ${process.version}\n`);
  console.log(table(samples));
  if (json !== undefined) await writeFile(json, `${JSON.stringify(figures(samples))}\n`);
  const goals = httpGoals(samples);
  console.log(`\n${goalTable(goals)}`);
  return goals.every(({ holds }) => holds) ? 0 : 1;
}

async function prepareObjects({ api }: Ways, hasList: boolean): Promise<void> {
  const { server } = api;
  const configMap = (namespace: string, name: string, data: string) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace },
    data: { data },
  });
  await server.apply(configMap('default', 'small', 'small'));
  if (!hasList) return;
  await server.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: listNamespace } });
  const data = 'x'.repeat(objectKib * 1024);
  const count = Math.ceil((listMib * 1024) / objectKib) + 1;
  for (let index = 0; index < count; index++) {
    await server.apply(configMap(listNamespace, `large-${index}`, data));
  }
}

function addFigures(samples: Samples, way: WayName, measured: Figures): void {
  for (const [figure, value] of Object.entries(measured)) {
    const byWay = samples.get(figure) ?? new Map<WayName, number[]>();
    byWay.set(way, [...(byWay.get(way) ?? []), value]);
    samples.set(figure, byWay);
  }
}

function valueOf(samples: Samples, figure: string, way: WayName): number {
  return median(samples.get(figure)?.get(way) ?? []);
}

function figures(samples: Samples): object[] {
  return Array.from(samples.keys(), (figure) => ({
    figure,
    ...Object.fromEntries(wayNames.map((way) => [way, valueOf(samples, figure, way)])),
  }));
}

const titles: Readonly<Record<WayName, string>> = {
  culvert: 'culvert',
  upstream: "upstream's chain",
  konnectivity: "culvert's konnectivity",
  bare: 'two bare relays',
  'kubectl-proxy': 'kubectl proxy',
  direct: 'direct',
};

function table(samples: Samples): string {
  const lines = [
    `| figure | ${wayNames.map((way) => titles[way]).join(' | ')} | culvert / upstream |`,
    `|---|${wayNames.map(() => '---:|').join('')}---:|`,
  ];
  for (const figure of samples.keys()) {
    const cells = wayNames.map((way) => format(valueOf(samples, figure, way)));
    const ratio = valueOf(samples, figure, 'culvert') / valueOf(samples, figure, 'upstream');
    lines.push(`| ${figure} | ${[...cells, format(ratio)].join(' | ')} |`);
  }
  return lines.join('\n');
}

interface HttpGoal {
  readonly goal: string;
  readonly measured: number;
  readonly limit: string;
  readonly holds: boolean;
  /** The same figure of the two bare relays, if it was measured. */
  readonly bare?: number;
}

const addedMicros = 400;
const timesUpstream = 2;
const watchKib = 40;
/** "As fast as" allows for the noise of two measurements. */
const sameSpeed = 0.95;

/** The goals whose figures were measured. */
function httpGoals(samples: Samples): HttpGoal[] {
  const at = (figure: string, way: WayName) => valueOf(samples, figure, way);
  const all: HttpGoal[] = [];
  const atMost = (goal: string, measured: number, limit: number, bare = Number.NaN): void => {
    if (!Number.isNaN(measured)) {
      all.push({ goal, measured, limit: `<= ${limit}`, holds: measured <= limit, bare });
    }
  };
  const atLeast = (goal: string, measured: number, limit: number): void => {
    if (!Number.isNaN(measured)) {
      all.push({ goal, measured, limit: `>= ${limit}`, holds: measured >= limit });
    }
  };
  for (const protocol of ['h1', 'h2']) {
    const median = figureNames.getMedian(1, protocol);
    atMost(
      `small GET, ${protocol}: p50 above direct, us`,
      at(median, 'culvert') - at(median, 'direct'),
      addedMicros,
      at(median, 'bare') - at(median, 'direct'),
    );
    for (const connections of [1, 64]) {
      const rate = figureNames.getRate(connections, protocol);
      atLeast(`${rate}, x upstream`, at(rate, 'culvert') / at(rate, 'upstream'), timesUpstream);
    }
  }
  for (const figure of [figureNames.list, figureNames.upload, figureNames.download]) {
    const ratio = at(figure, 'culvert') / at(figure, 'konnectivity');
    atLeast(`${figure}, x konnectivity path`, ratio, sameSpeed);
  }
  atMost(figureNames.watchMemory, at(figureNames.watchMemory, 'culvert'), watchKib);
  return all;
}

function goalTable(goals: readonly HttpGoal[]): string {
  const lines = [
    '| goal | measured | limit | holds | two bare relays |',
    '|---|---:|---:|---|---:|',
  ];
  for (const { goal, measured, limit, holds, bare = Number.NaN } of goals) {
    const cells = [goal, format(measured), limit, holds ? 'yes' : '**no**', format(bare)];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}
