// npm run chaos -- --minutes N --seed S: real processes under load while a seeded script breaks them; testkit/chaos tells what must hold.
import { parseArgs } from 'node:util';
import { runChaos } from '../testkit/chaos/run.ts';
import { ground, isMissing, prepareGround } from '../testkit/ground/ground.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
});
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run chaos -- [--minutes N] [--seed WHOLE_NUMBER]');
  process.exit(2);
}

await prepareGround('quick', (line) => console.log(`test ground: ${line}`));
const [go, redis] = [await ground.go(), await ground.debian('redis-server')];
for (const needed of [go, redis]) {
  if (!isMissing(needed)) continue;
  console.error(`chaos needs ${needed.missing} (${needed.reason})`);
  process.exit(2);
}
if (isMissing(go) || isMissing(redis)) throw new Error('unreachable');

const report = await runChaos({
  seed,
  durationMs: minutes * 60_000,
  go,
  redis,
  log: (line) => console.log(line),
});
console.log(`\n${report.table}`);
for (const sentence of report.broken) console.error(`\nbroken: ${sentence}`);
if (report.broken.length > 0) {
  console.error(
    `\n${report.broken.length} expectations broken; the same faults again: npm run chaos -- --minutes ${minutes} --seed ${seed}`,
  );
  process.exitCode = 1;
} else {
  console.log(`\nall expectations hold (seed ${seed})`);
}
