// npm test: prepares the test ground, then runs the tests. Arguments go to vitest: npm test -- test/tunnel
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { prepareGround } from '../test/ground/ground.ts';

await prepareGround((line) => console.log(`test ground: ${line}`));

const child = spawn('vitest', ['run', ...process.argv.slice(2)], { stdio: 'inherit' });
process.on('SIGTERM', () => child.kill('SIGTERM'));
const [code] = (await once(child, 'exit')) as [number | null];
process.exitCode = code ?? 1;
