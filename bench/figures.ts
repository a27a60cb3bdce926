import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { runLoad, type LoadResult } from './load.ts';
import type { Peer, Peers } from './peers.ts';

export type PeerName = keyof Omit<Peers, typeof Symbol.asyncDispose | 'restartUpstream'>;

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
  readonly peers: readonly PeerName[];
  /** True when upstream does not survive the measurement. */
  readonly ruinsUpstream?: boolean;
  readonly run: (
    go: GoPrograms,
    peer: Peer,
    scale: Scale,
  ) => Promise<Readonly<Record<string, number>>>;
}

/** The promised ratio of culvert's figure to upstream's: at least, or at most. */
export interface Floor {
  readonly atLeast?: number;
  readonly atMost?: number;
}

export const floors: Readonly<Record<string, Floor>> = {
  'up MB/s, 1 stream': { atLeast: 1 },
  'up MB/s, 16 streams': { atLeast: 1 },
  'down MB/s, 1 stream': { atLeast: 1.3 },
  'down MB/s, 16 streams': { atLeast: 1.3 },
  'round trip p50 us': { atMost: 1.3 },
};

/** The part of the speed of seven streams that must be left when an eighth stalls. */
export const stalledFloor = 0.9;

const everybody: readonly PeerName[] = ['ours', 'oursApart', 'upstream', 'relay', 'direct'];
const tunnels: readonly PeerName[] = ['ours', 'oursApart', 'upstream'];

function throughput(direction: 'up' | 'down', streams: number, chunkBytes = 16_384): Measurement {
  const command = direction === 'up' ? 'blast' : 'drain';
  const size = chunkBytes === 16_384 ? '' : `, ${chunkBytes / 1024} KiB writes`;
  const what = `${streams} stream${streams === 1 ? '' : 's'}${size}`;
  return {
    peers: everybody,
    async run(go, peer, scale) {
      const args = ['--streams', `${streams}`, '--chunk', `${chunkBytes}`];
      const result = await runLoad(go, peer, command, [...args, ...timeFlags(scale)]);
      return {
        [`${direction} MB/s, ${what}`]: result.mbPerSecond,
        [`${direction} CPU s/GiB of server side, ${what}`]: result.serverCpuPerGib,
        [`${direction} CPU s/GiB of agent, ${what}`]: result.agentCpuPerGib,
      };
    },
  };
}

function beside(direction: 'up' | 'down'): Measurement {
  const command = direction === 'up' ? 'blast' : 'drain';
  const speed = async (go: GoPrograms, peer: Peer, scale: Scale, stalled: number) => {
    const args = ['--streams', `${7 + stalled}`, '--stalled', `${stalled}`, ...timeFlags(scale)];
    return (await runLoad(go, peer, command, args)).mbPerSecond;
  };
  return {
    peers: tunnels,
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

function latency(
  command: 'pingpong' | 'dial',
  name: string,
  peers: readonly PeerName[],
): Measurement {
  return {
    peers,
    async run(go, peer, scale) {
      const count = command === 'dial' ? scale.dials : scale.roundTrips;
      const result: LoadResult = await runLoad(go, peer, command, ['--count', `${count}`]);
      return { [`${name} p50 us`]: result.p50Micros, [`${name} p99 us`]: result.p99Micros };
    },
  };
}

function timeFlags(scale: Scale): string[] {
  return ['--seconds', `${scale.seconds}`, '--warmup', `${scale.warmupSeconds}`];
}

export const measurements: readonly Measurement[] = [
  throughput('up', 1),
  throughput('up', 16),
  throughput('down', 1),
  throughput('down', 16),
  latency('pingpong', 'round trip', everybody),
  latency('dial', 'dial', tunnels),
  beside('up'),
  beside('down'),
];

/** True when a quick run omits the measurement. */
export const longMeasurements: readonly Measurement[] = [
  throughput('up', 1, 1024),
  throughput('up', 1, 65_536),
];
