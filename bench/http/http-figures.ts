import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeName, podName } from '../../testkit/ground/http/managed-api.ts';
import { cpuSeconds, residentBytes } from '../cpu.ts';
import { wayNames, type Way, type WayName, type Ways } from './ways.ts';

export interface HttpScale {
  readonly repetitions: number;
  readonly seconds: number;
  readonly roundTrips: number;
  readonly transferMib: number;
}

export type Figures = Readonly<Record<string, number>>;

/** One measurement, which runs through each way in turn, and its figures. */
export interface HttpMeasurement {
  /** What `--only` selects. */
  readonly name: string;
  /** Default: all ways. */
  readonly ways?: readonly WayName[];
  readonly run: (load: string, way: Way, ways: Ways, scale: HttpScale) => Promise<Figures>;
}

export const listNamespace = 'large-list';
export const listMib = 50;
const mib = 1024 ** 2;
const smallPath = '/api/v1/namespaces/default/configmaps/small';
const watchCount = 1000;
const settleMs = 3000;
/**
 * Seconds of GETs in front of those that count, so that programs which run for days are not measured
 * while their code is compiled. Many connections bring more requests per second.
 */
const getWarmupSeconds = { many: 5, one: 2 };
const noBare: readonly WayName[] = wayNames.filter((name) => name !== 'bare');
const noKonnectivity: readonly WayName[] = ['culvert', 'upstream', 'kubectl-proxy', 'direct'];

export const figureNames = {
  getRate: (connections: number, protocol: string) =>
    `GET requests/s, ${connections} connections, ${protocol}`,
  getMedian: (connections: number, protocol: string) =>
    `GET p50 us, ${connections} connections, ${protocol}`,
  list: `${listMib} MiB list, MB/s`,
  upload: 'upload MB/s',
  download: 'download MB/s',
  watchMemory: 'idle watch, KiB in the gateway',
};

export const httpMeasurements: readonly HttpMeasurement[] = [
  // First, because memory that earlier work has left would hide the growth.
  {
    name: 'watches',
    ways: noKonnectivity,
    async run(load, way, ways) {
      // A first run, so that pools and code are in memory already.
      await runWatches(load, way, ways, watchCount / 5);
      await sleep(settleMs);
      const { p50Micros, p99Micros, growthBytes } = await runWatches(load, way, ways, watchCount);
      return {
        [`event to ${watchCount} watches, p50 ms`]: p50Micros / 1000,
        [`event to ${watchCount} watches, p99 ms`]: p99Micros / 1000,
        [figureNames.watchMemory]: growthBytes / 1024 / watchCount,
      };
    },
  },
  // The many connections come first, as a warm-up of those behind them.
  get(64, 'h1'),
  get(1, 'h1'),
  get(64, 'h2'),
  get(1, 'h2'),
  transfer('list', figureNames.list, () => [
    ...['download', '--path', `/api/v1/namespaces/${listNamespace}/configmaps`],
    ...['--bytes', `${listMib * mib}`],
  ]),
  transfer('upload', figureNames.upload, ({ transferMib }) => [
    ...['upload', '--path', `/api/v1/nodes/${nodeName}/proxy/upload`],
    ...['--bytes', `${transferMib * mib}`],
  ]),
  transfer('download', figureNames.download, ({ transferMib }) => [
    ...['download', '--bytes', `${transferMib * mib}`],
    ...['--path', `/api/v1/nodes/${nodeName}/proxy/download?bytes=${transferMib * mib}`],
  ]),
  {
    name: 'exec',
    ways: [...noKonnectivity, 'bare'],
    async run(load, way, _ways, { roundTrips }) {
      const args = ['exec', '--pod', podName, '--count', `${roundTrips}`];
      const { p50Micros, p99Micros } = await runHttpLoad(load, way, args);
      return { 'exec round trip p50 us': p50Micros, 'exec round trip p99 us': p99Micros };
    },
  },
];

function get(connections: number, protocol: 'h1' | 'h2'): HttpMeasurement {
  return {
    name: `get ${connections} ${protocol}`,
    async run(load, way, _ways, { seconds }) {
      if (protocol === 'h2' && !way.speaksHttp2) return {};
      const warmupSeconds = connections > 1 ? getWarmupSeconds.many : getWarmupSeconds.one;
      const result = await runHttpLoad(load, way, [
        ...['get', '--path', smallPath, '--protocol', protocol, '--connections', `${connections}`],
        ...['--seconds', `${seconds}`, '--warmup', `${warmupSeconds}`],
      ]);
      const what = `${connections} connections, ${protocol}`;
      return {
        [figureNames.getRate(connections, protocol)]: result.requestsPerSecond,
        [figureNames.getMedian(connections, protocol)]: result.p50Micros,
        [`GET p99 us, ${what}`]: result.p99Micros,
        [`GET CPU us per request, ${what}`]: result.cpuMicros,
      };
    },
  };
}

function transfer(
  name: string,
  figure: string,
  argsOf: (scale: HttpScale) => string[],
): HttpMeasurement {
  return {
    name,
    ways: noBare,
    async run(load, way, _ways, scale) {
      // HTTP/1.1, because Go's HTTP/2 is the limit of all ways otherwise.
      const protocol = ['--protocol', 'h1', '--seconds', `${scale.seconds}`];
      const result = await runHttpLoad(load, way, [...argsOf(scale), ...protocol]);
      const perGib = (result.cpuMicros * result.requests) / 1e6 / (result.bytes / 1024 ** 3);
      return { [figure]: result.mbPerSecond, [`${name} CPU s/GiB`]: perGib };
    },
  };
}

interface HttpResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly bytes: number;
  readonly mbPerSecond: number;
  /** CPU time of all processes of the way for a request. */
  readonly cpuMicros: number;
  /** How much the gateway's resident memory has grown while it was idle under the load. */
  readonly growthBytes: number;
}

function runWatches(load: string, way: Way, ways: Ways, count: number): Promise<HttpResult> {
  return runHttpLoad(load, way, ['watches', '--count', `${count}`, ...ways.writerFlags]);
}

async function runHttpLoad(
  load: string,
  way: Way,
  [command = '', ...args]: readonly string[],
): Promise<HttpResult> {
  const idleBytes = memoryOf(way);
  const child = spawn(load, [command, ...way.flags, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const failed = text(child.stderr);
  let before = cpuSeconds(way.pids);
  let growthBytes = Number.NaN;
  let result: HttpResult | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { readonly event: string } & HttpResult;
    if (event.event === 'idle') {
      growthBytes = memoryOf(way) - idleBytes;
      child.stdin.write('\n');
    } else if (event.event === 'steady') {
      before = cpuSeconds(way.pids);
    } else {
      const cpu = cpuSeconds(way.pids) - before;
      const cpuMicros = way.pids.length === 0 ? Number.NaN : (cpu * 1e6) / event.requests;
      result = { ...event, cpuMicros, growthBytes };
    }
  }
  if (child.exitCode === null) await once(child, 'exit');
  if (result === undefined) {
    throw new Error(`load ${command} through ${way.name} failed: ${await failed}`);
  }
  return result;
}

function memoryOf({ gatewayPid }: Way): number {
  return gatewayPid === undefined ? Number.NaN : residentBytes(gatewayPid);
}
