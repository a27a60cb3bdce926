import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { startProgram, type Program } from '../testkit/processes/process.ts';

/** Starts the simplest possible tunnel in Node: two sockets and two pipes. */
export async function startNodeRelay(
  targetPort: number,
): Promise<AsyncDisposable & { readonly address: string; readonly program: Program }> {
  const program = startProgram({
    command: process.execPath,
    args: [fileURLToPath(import.meta.url), `${targetPort}`],
    name: 'relay',
  });
  const [, port] = await program.waitForLine(/^relay listens on (\d+)/);
  return {
    address: `127.0.0.1:${port}`,
    program,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function run(targetPort: number): Promise<void> {
  const relay = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: targetPort, host: '127.0.0.1', noDelay: true });
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  console.log(`relay listens on ${(relay.address() as AddressInfo).port}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(Number(process.argv[2]));
