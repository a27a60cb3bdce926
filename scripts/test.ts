// npm test and npm run test:full: prepare real peers, then run one of the two suites. Arguments go to vitest: npm test -- test/tunnel
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { prepareGround } from '../testkit/ground/ground.ts';

/** The projects of vitest.config.ts that make up each suite. */
const projectsOf = { quick: ['quick'], full: ['full', 'chaos'] } as const;

const [suite = '', ...args] = process.argv.slice(2);
if (suite !== 'quick' && suite !== 'full') {
  console.error('usage: scripts/test.ts quick | full [ARGUMENT...]');
  process.exit(2);
}

await prepareGround((line) => console.log(`test ground: ${line}`));

const projects = projectsOf[suite].flatMap((name) => ['--project', name]);
const child = spawn('vitest', ['run', ...projects, ...args], { stdio: 'inherit' });
process.on('SIGTERM', () => child.kill('SIGTERM'));
const [code] = (await once(child, 'exit')) as [number | null];
process.exitCode = code ?? 1;
