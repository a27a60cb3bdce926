import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { runLoad, untilQuiet } from './load.ts';
import type { Peer, PeerName } from './peers.ts';

/** The length and the number of repetitions. */
export interface Scale {
  readonly repetitions: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly roundTrips: number;
  readonly dials: number;
}

/** One measurement, which runs through each peer in turn, and its figures. */
export interface Measurement {
  /** What `--only` selects. */
  readonly name: string;
  readonly peers: readonly PeerName[];
  /** True: server and agent are 20 ms apart (round trip). */
  readonly isFar?: boolean;
  /** True when upstream does not survive the measurement. */
  readonly ruinsUpstream?: boolean;
  readonly run: (
    go: GoPrograms,
    peer: Peer,
    scale: Scale,
  ) => Promise<Readonly<Record<string, number>>>;
}

type Direction = 'up' | 'down';

/** The time that each direction takes in measurements at a distance, in milliseconds. */
export const farDelayMs = 10;
/** A window has to grow to its size at a distance. */
const farWarmupSeconds = 2;
const manyStreams = 1000;
/** So many windows have to fill, and their streams take turns. */
const manyWarmupSeconds = 3;
const minManySeconds = 2;
const interactiveStreams = 20;
/** A p99 needs some thousand samples. */
const minFairnessSeconds = 2;
const defaultChunkBytes = 16 * 1024;
/** A process that has just started runs code that is not compiled yet. Servers run for weeks. */
const warmupCount = 2000;

const tunnels: readonly PeerName[] = ['culvert', 'baseline', 'apart', 'upstream'];
const everybody: readonly PeerName[] = [...tunnels, 'relay', 'direct'];
const withBare: readonly PeerName[] = [...everybody, 'bare', 'bareGrpc'];

export const measurements: readonly Measurement[] = [
  throughput('up', 1),
  throughput('up', 16),
  throughput('down', 1),
  throughput('down', 16),
  latency('pingpong', 'round trip', withBare),
  latency('dial', 'dial', [...tunnels, 'bare', 'bareGrpc']),
  throughput('up', 1, 1024),
  distance('up'),
  distance('down'),
  beside('up'),
  beside('down'),
  many('up'),
  many('down'),
  fairness(),
];

/** Left out by a quick run. */
export const longMeasurements: readonly Measurement[] = [throughput('up', 1, 64 * 1024)];

function throughput(
  direction: Direction,
  streams: number,
  chunkBytes = defaultChunkBytes,
): Measurement {
  const size = chunkBytes === defaultChunkBytes ? '' : `, ${chunkBytes / 1024} KiB writes`;
  const what = `${streams} stream${streams === 1 ? '' : 's'}${size}`;
  return {
    name: `${direction} ${streams}${chunkBytes === defaultChunkBytes ? '' : ` ${chunkBytes / 1024}k`}`,
    peers: streams > 1 ? [...withBare, 'bareShared', 'bareGrpcShared'] : withBare,
    async run(go, peer, scale) {
      const args = ['--streams', `${streams}`, '--chunk', `${chunkBytes}`, ...timeFlags(scale)];
      const result = await runLoad(go, peer, commandOf(direction), args);
      return {
        [`${direction} MB/s, ${what}`]: result.mbPerSecond,
        [`${direction} CPU s/GiB, ${what}`]: result.cpuPerGib,
        [`${direction} CPU s/GiB of server side, ${what}`]: result.serverCpuPerGib,
        [`${direction} CPU s/GiB of agent, ${what}`]: result.agentCpuPerGib,
        [`${direction} CPU s/GiB of load generator, ${what}`]: result.clientCpuPerGib,
        [`${direction} CPU s/GiB of target, ${what}`]: result.targetCpuPerGib,
      };
    },
  };
}

function distance(direction: Direction): Measurement {
  return {
    name: `far ${direction}`,
    peers: ['culvert', 'baseline', 'upstream'],
    isFar: true,
    async run(go, peer, scale) {
      const far = { ...scale, warmupSeconds: farWarmupSeconds };
      const result = await runLoad(go, peer, commandOf(direction), timeFlags(far));
      return { [`${direction} MB/s, 1 stream at 20 ms round trip`]: result.mbPerSecond };
    },
  };
}

function beside(direction: Direction): Measurement {
  const speed = async (go: GoPrograms, peer: Peer, scale: Scale, stalled: number) => {
    const args = ['--streams', `${7 + stalled}`, '--stalled', `${stalled}`, ...timeFlags(scale)];
    return (await runLoad(go, peer, commandOf(direction), args)).mbPerSecond;
  };
  return {
    name: `stalled ${direction}`,
    peers: ['culvert', 'baseline', 'upstream'],
    ruinsUpstream: true,
    async run(go, peer, scale) {
      const alone = await speed(go, peer, scale, 0);
      // Upstream may stop completely, or its client may give up. Then the speed is 0.
      const besideStalled = await speed(go, peer, scale, 1).catch(() => 0);
      return {
        [`${direction}: share kept by 7 streams beside a stalled one`]: besideStalled / alone,
      };
    },
  };
}

function many(direction: Direction): Measurement {
  return {
    name: `many ${direction}`,
    peers: ['culvert', 'baseline'],
    async run(go, peer, scale) {
      const cpu = async (streams: number, warmupSeconds: number) => {
        const seconds = Math.max(scale.seconds, minManySeconds);
        const time = timeFlags({ ...scale, warmupSeconds, seconds });
        const args = ['--streams', `${streams}`, ...time];
        return (await runLoad(go, peer, commandOf(direction), args)).cpuPerGib;
      };
      const one = await cpu(1, scale.warmupSeconds);
      const all = await cpu(manyStreams, manyWarmupSeconds);
      await untilQuiet(peer);
      return { [`${direction}: CPU per GiB with 1,000 streams, in that of one`]: all / one };
    },
  };
}

/** Round trips of 20 interactive streams, alone and beside a stream that writes without end. */
function fairness(): Measurement {
  const p99 = async (go: GoPrograms, peer: Peer, scale: Scale, bulk: number) => {
    const seconds = Math.max(scale.seconds, minFairnessSeconds);
    const time = timeFlags({ ...scale, seconds });
    const args = ['--streams', `${interactiveStreams}`, '--bulk', `${bulk}`, ...time];
    return (await runLoad(go, peer, 'interactive', args)).p99Micros;
  };
  return {
    name: 'fairness',
    peers: everybody,
    async run(go, peer, scale) {
      const alone = await p99(go, peer, scale, 0);
      const besideBulk = await p99(go, peer, scale, 1);
      const name = `round trip p99 us of ${interactiveStreams} interactive streams`;
      return {
        [`${name}, alone`]: alone,
        [`${name}, beside a bulk stream`]: besideBulk,
        [`fairness: p99 of ${interactiveStreams} interactive streams beside a bulk stream, in that alone`]:
          besideBulk / alone,
      };
    },
  };
}

function latency(
  command: 'pingpong' | 'dial',
  name: string,
  peers: readonly PeerName[],
): Measurement {
  return {
    name,
    peers,
    async run(go, peer, scale) {
      await runLoad(go, peer, command, ['--count', `${warmupCount}`]);
      const count = command === 'dial' ? scale.dials : scale.roundTrips;
      const result = await runLoad(go, peer, command, ['--count', `${count}`]);
      return { [`${name} p50 us`]: result.p50Micros, [`${name} p99 us`]: result.p99Micros };
    },
  };
}

function commandOf(direction: Direction): string {
  return direction === 'up' ? 'blast' : 'drain';
}

function timeFlags(scale: Scale): string[] {
  return ['--seconds', `${scale.seconds}`, '--warmup', `${scale.warmupSeconds}`];
}
