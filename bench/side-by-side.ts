import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { resolve } from 'node:path';
import type { GoPrograms, UpstreamPrograms } from '../testkit/ground/go-programs.ts';
import { boundTable } from './bare/bound-table.ts';
import type { FrontKind } from './culvert-pair.ts';
import { farDelayMs, longMeasurements, measurements, type Scale } from './figures.ts';
import { brokenFloors, goalTable, verdicts } from './goals.ts';
import { startPeers, type PeerName, type Peers, type PeersOptions } from './peers.ts';
import { printProfiles } from './profile.ts';
import { addSamples, rows, table, type Samples } from './report.ts';

export interface CompareOptions {
  readonly front: FrontKind;
  /** Compares with the bare chain: the lower bound of two Node processes. Needs `mtls`. */
  readonly isBare: boolean;
  readonly isQuick: boolean;
  /** Beginnings of the names of the measurements (default: all). */
  readonly only: readonly string[] | undefined;
  readonly repetitions: number | undefined;
  readonly baseline: string | undefined;
  /** The directory for CPU profiles of culvert, which is then measured alone. */
  readonly cpuProfiles: string | undefined;
  /** A file for the figures. */
  readonly json: string | undefined;
}

const quickScale: Scale = {
  repetitions: 2,
  seconds: 0.6,
  warmupSeconds: 0.3,
  roundTrips: 1500,
  dials: 1000,
};
const fullScale: Scale = {
  repetitions: 5,
  seconds: 2,
  warmupSeconds: 1,
  roundTrips: 5000,
  dials: 1000,
};

/**
 * Measures culvert and its peers in turns and prints the tables.
 *
 * @returns the exit code: 1 if a floor is broken
 */
export async function compareSides(
  go: GoPrograms,
  upstream: UpstreamPrograms,
  options: CompareOptions,
): Promise<number> {
  const { front, isBare, isQuick, only, baseline, cpuProfiles, json } = options;
  const scale = isQuick ? quickScale : fullScale;
  const { repetitions = scale.repetitions } = options;
  const chosen = [...measurements, ...(isQuick && only === undefined ? [] : longMeasurements)]
    .filter(({ name }) => only === undefined || only.some((start) => name.startsWith(start.trim())))
    .filter(({ peers }) => !isBare || peers.includes('bare'));
  const names = peerNames(options);
  const peersOptions: PeersOptions = {
    names,
    front,
    ...(baseline === undefined ? {} : { baseline: resolve(baseline) }),
    ...(cpuProfiles === undefined ? {} : { cpuProfiles: resolve(cpuProfiles) }),
  };

  const samples: Samples = new Map();
  {
    await using stack = new AsyncDisposableStack();
    const start = async (more: Partial<PeersOptions>): Promise<Peers> =>
      stack.use(await startPeers(go, upstream, { ...peersOptions, ...more }));
    const near = chosen.some(({ isFar }) => !isFar) ? await start({}) : undefined;
    const far = chosen.some(({ isFar }) => isFar)
      ? await start({ delayMs: farDelayMs })
      : undefined;
    for (let repetition = 1; repetition <= repetitions; repetition++) {
      console.log(`repetition ${repetition} of ${repetitions} ...`);
      // Peers take turns within each measurement, so that a noisy minute affects all of them.
      for (const { peers: candidates, isFar, run, ruinsUpstream = false } of chosen) {
        const peers = (isFar === true ? far : near)!;
        for (const name of candidates.filter((candidate) => names.includes(candidate))) {
          addSamples(samples, name, await run(go, peers.byName.get(name)!, scale));
        }
        if (ruinsUpstream) await peers.restartUpstream();
      }
    }
  }

  const kind = { mtls: 'mTLS between client and server', uds: 'Unix socket without TLS' }[front];
  const machine = `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})`;
  console.log(`\n${kind}, medians of ${repetitions}, ${machine}, Node ${process.version}\n`);
  console.log(table(samples));
  const result = rows(samples);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(result, undefined, 2)}\n`);
  if (cpuProfiles !== undefined) {
    await printProfiles(cpuProfiles);
    return 0;
  }
  const promised = verdicts(front, result);
  if (isBare) {
    console.log(`\n${boundTable(samples, promised)}`);
    return 0;
  }
  if (promised.length > 0) console.log(`\n${goalTable(promised)}`);
  const broken = brokenFloors(promised);
  for (const sentence of broken) console.error(`floor broken: ${sentence}`);
  if (promised.length > 0 && broken.length === 0) console.log('\nall measured floors hold');
  return broken.length === 0 ? 0 : 1;
}

function peerNames({ isBare, isQuick, baseline, cpuProfiles }: CompareOptions): PeerName[] {
  if (isBare) return ['culvert', 'upstream', 'bare', 'bareShared', 'bareGrpc', 'bareGrpcShared'];
  const own: PeerName[] = baseline === undefined ? ['culvert'] : ['culvert', 'baseline'];
  if (cpuProfiles !== undefined) return own;
  return [...own, ...(isQuick ? [] : (['apart'] as const)), 'upstream', 'relay', 'direct'];
}
