// npm run bench: culvert and its peers side by side, with the real Go client over mTLS.
//   --uds            the client uses a Unix socket without TLS
//   --quick          fewer and shorter repetitions, under 4 minutes
//   --only NAMES     some measurements, such as "up 1,dial"; a name selects all that begin with it
//   --baseline DIR   also the culvert of another checkout
//   --cpu-prof DIR   culvert alone, with CPU profiles of its processes
//   --json FILE      rows of {figure, ours, peer, ratio} as JSON; peer is upstream's konnectivity
//   --repetitions N  instead of the usual 5 (2 when quick)
// npm run bench -- bare: culvert and Go beside two Node processes that only pass bytes on, which shows the goals that
//   programs in Node can reach; also with --quick, --only NAMES, --repetitions N, --json FILE.
// npm run bench -- http: the HTTP plane beside upstream's user-server, kubectl proxy and a direct connection. Needs root.
//   --quick, --only NAMES, --repetitions N, --json FILE, --cpu-prof DIR as above
// npm run bench -- worker: CPU of a GET through the gateway in the Worker; also with --quick, and --cpu-prof FILE.
// npm run bench -- peers: culvert connect beside other tunnels for plain TCP; also with --quick.
// npm run bench -- link: a shaped link between two network namespaces: direct, culvert and konnectivity. Needs root.
// npm run bench -- scale: many idle agents on one broker, the storm when it dies, what a hop and the directory cost.
//   --agents N       instead of 10000
// npm run bench -- hop: the rows of `scale` about a hop and the directory alone.
// npm run bench -- addon: the addon manager with many clusters on a real API server.
//   --clusters N     instead of 2000
import { parseArgs } from 'node:util';
import { isMissing, prepareGround, ground } from '../testkit/ground/ground.ts';
import { apiServerPrograms, findPrograms } from '../testkit/ground/kubernetes/programs.ts';
import { findHttpPrograms, prepareHttpPrograms } from '../testkit/ground/http/http-programs.ts';
import { measureAddon } from './addon.ts';
import { measureDirectory, measureHop } from './hop.ts';
import { compareHttp, compareHttpApart } from './http/compare-http.ts';
import { measureWorkerCpu } from './http/worker-cpu.ts';
import { measureIdle } from './idle.ts';
import { type ScaleRow, scaleTable } from './report.ts';
import { measureInside, measureLinks } from './shaped-link.ts';
import { compareSides } from './side-by-side.ts';
import { compareTunnels } from './tunnel-table.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    agents: { type: 'string', default: '10000' },
    clusters: { type: 'string', default: '2000' },
    quick: { type: 'boolean', default: false },
    uds: { type: 'boolean', default: false },
    only: { type: 'string' },
    baseline: { type: 'string' },
    'cpu-prof': { type: 'string' },
    json: { type: 'string' },
    repetitions: { type: 'string' },
    // For `link` and `http`, which start themselves in a network namespace.
    inside: { type: 'string' },
  },
});

if (positionals[0] === 'worker') {
  await measureWorkerCpu(values.quick ? 1_500 : 5_000, values['cpu-prof']);
  process.exit(0);
}

if (positionals[0] === 'addon') {
  const programs = await findPrograms(apiServerPrograms);
  if (isMissing(programs)) {
    console.error(`a hub is needed: ${programs.missing} (${programs.reason})`);
    process.exit(2);
  }
  process.exit(reportScale(await measureAddon(programs, Number(values.clusters))));
}

if (positionals[0] === 'http') {
  const names = ['load', 'kubelet', 'clusterProxy'] as const;
  const report = (line: string): void => console.log(`test ground: ${line}`);
  if (values.inside === undefined) {
    await prepareGround('bench', report);
    await prepareHttpPrograms(names, report);
    process.exit(await compareHttpApart());
  }
  const found = {
    http: await findHttpPrograms(names),
    kubernetes: await findPrograms(apiServerPrograms),
    konnectivity: await ground.upstream(),
  };
  const { http, kubernetes, konnectivity } = found;
  if (isMissing(http) || isMissing(kubernetes) || isMissing(konnectivity)) {
    const { missing, reason } = Object.values(found).find(isMissing)!;
    console.error(`real servers and clients are needed: ${missing} (${reason})`);
    process.exit(2);
  }
  const { quick: isQuick, only: start, json: file, repetitions: times } = values;
  process.exit(
    await compareHttp(
      { http, kubernetes, konnectivity },
      {
        isQuick,
        only: start?.split(','),
        repetitions: times === undefined ? undefined : Number(times),
        json: file,
        cpuProfiles: values['cpu-prof'],
      },
    ),
  );
}

await prepareGround('bench', (line) => console.log(`test ground: ${line}`));
const [go, upstream] = [await ground.go(), await ground.upstream()];
if (isMissing(go) || isMissing(upstream)) {
  const { missing, reason } = [go, upstream].find(isMissing)!;
  console.error(`the load generator and the peer are Go programs: ${missing} (${reason})`);
  process.exit(2);
}

if (positionals[0] === 'link') {
  if (values.inside === undefined) process.exit(await measureLinks(go, values.only));
  await measureInside(go, upstream, values.inside);
  process.exit();
}

if (positionals[0] === 'peers') {
  await compareTunnels(go, values.quick);
  process.exit();
}

if (positionals[0] === 'scale' || positionals[0] === 'hop') {
  const redis = await ground.debian('redis-server');
  const measured = positionals[0] === 'hop' ? [] : await measureIdle(Number(values.agents));
  if (isMissing(redis)) console.error(`left out: ${redis.missing} (${redis.reason})`);
  else measured.push(...(await measureDirectory(redis)), ...(await measureHop(go, redis)));
  process.exit(reportScale(measured));
}

const { uds, quick, only, baseline, json, repetitions, 'cpu-prof': cpuProfiles } = values;
process.exitCode = await compareSides(go, upstream, {
  front: uds ? 'uds' : 'mtls',
  isBare: positionals[0] === 'bare',
  isQuick: quick,
  only: only?.split(','),
  repetitions: repetitions === undefined ? undefined : Number(repetitions),
  baseline,
  cpuProfiles,
  json,
});

/** Prints figures of culvert alone. @returns the exit code: 1 if a figure exceeds its limit */
function reportScale(measured: readonly ScaleRow[]): number {
  console.log(`\n${scaleTable(measured)}`);
  const over = measured.filter(({ value, atMost }) => atMost !== undefined && !(value <= atMost));
  for (const { figure, value, atMost } of over)
    console.error(`${figure}: ${value}, at most ${atMost}`);
  return over.length === 0 ? 0 : 1;
}
