// npm run bench: culvert and its peers side by side, with the real Go client.
// npm run bench -- scale: many idle agents on one broker, the storm when it dies, what a hop and the directory cost.
// npm run bench -- addon: the addon manager with many clusters on a real API server.
//   --clusters N     instead of 2000
//   --agents N       instead of 10000
//   --quick          fewer and shorter repetitions, under 90 s
//   --json FILE      rows of {figure, ours, peer, ratio} as JSON; peer is upstream's konnectivity
//   --repetitions N  instead of the usual 5 (2 when quick)
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { isMissing, prepareGround, ground } from '../testkit/ground/ground.ts';
import { apiServerPrograms, findPrograms } from '../testkit/ground/kubernetes/programs.ts';
import { measureAddon } from './addon.ts';
import { longMeasurements, measurements, type Scale } from './figures.ts';
import { measureDirectory, measureHop } from './hop.ts';
import { measureIdle } from './idle.ts';
import { startPeers } from './peers.ts';
import { brokenFloors, rows, type ScaleRow, scaleTable, table, type Samples } from './report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    agents: { type: 'string', default: '10000' },
    clusters: { type: 'string', default: '2000' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    repetitions: { type: 'string' },
  },
});

const scale: Scale = values.quick
  ? { repetitions: 2, seconds: 0.6, warmupSeconds: 0.3, roundTrips: 1500, dials: 150 }
  : { repetitions: 5, seconds: 2, warmupSeconds: 1, roundTrips: 5000, dials: 500 };
const repetitions =
  values.repetitions === undefined ? scale.repetitions : Number(values.repetitions);

if (positionals[0] === 'addon') {
  const programs = await findPrograms(apiServerPrograms);
  if (isMissing(programs)) {
    console.error(`a hub is needed: ${programs.missing} (${programs.reason})`);
    process.exit(2);
  }
  process.exit(reportScale(await measureAddon(programs, Number(values.clusters))));
}

await prepareGround('bench', (line) => console.log(`test ground: ${line}`));
const [go, upstream] = [await ground.go(), await ground.upstream()];
if (isMissing(go) || isMissing(upstream)) {
  const { missing, reason } = [go, upstream].find(isMissing)!;
  console.error(`the load generator and the peer are Go programs: ${missing} (${reason})`);
  process.exit(2);
}

if (positionals[0] === 'scale') {
  const redis = await ground.debian('redis-server');
  const measured = await measureIdle(Number(values.agents));
  if (isMissing(redis)) console.error(`left out: ${redis.missing} (${redis.reason})`);
  else measured.push(...(await measureDirectory(redis)), ...(await measureHop(go, redis)));
  process.exit(reportScale(measured));
}

const samples: Samples = new Map();
const all = values.quick ? measurements : [...measurements, ...longMeasurements];
{
  await using peers = await startPeers(go, upstream);
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    console.log(`repetition ${repetition} of ${repetitions} ...`);
    // Peers take turns within each measurement, so that a noisy minute affects all of them.
    for (const { peers: names, run, ruinsUpstream = false } of all) {
      for (const name of names) {
        if (values.quick && name === 'oursApart') continue;
        const figures = await run(go, peers[name], scale);
        for (const [figure, value] of Object.entries(figures)) {
          const byPeer = samples.get(figure) ?? new Map();
          byPeer.set(name, [...(byPeer.get(name) ?? []), value]);
          samples.set(figure, byPeer);
        }
      }
      if (ruinsUpstream) await peers.restartUpstream();
    }
  }
}

const result = rows(samples);
console.log(
  `\nmedians of ${repetitions}, ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), Node ${process.version}\n`,
);
console.log(table(samples));
if (values.json !== undefined)
  await writeFile(values.json, `${JSON.stringify(result, undefined, 2)}\n`);
const broken = brokenFloors(result);
for (const sentence of broken) console.error(`floor broken: ${sentence}`);
if (broken.length === 0) console.log('\nall floors hold');
process.exitCode = broken.length === 0 ? 0 : 1;

/** Prints figures of culvert alone. @returns the exit code: 1 if a figure exceeds its limit */
function reportScale(measured: readonly ScaleRow[]): number {
  console.log(`\n${scaleTable(measured)}`);
  const over = measured.filter(({ value, atMost }) => atMost !== undefined && !(value <= atMost));
  for (const { figure, value, atMost } of over)
    console.error(`${figure}: ${value}, at most ${atMost}`);
  return over.length === 0 ? 0 : 1;
}
