import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pipeline } from 'node:stream/promises';
import { startProgram } from '../processes/process.ts';
import type { NetworkNamespace } from './network-namespace.ts';

/**
 * Makes ports of this machine's loopback reachable inside a namespace, at the same ports of its own
 * loopback. Unix sockets carry the connections, because they are files and know no namespace.
 *
 * @param directory gets a socket for each port
 */
export async function startLoopbackRelay(
  namespace: NetworkNamespace,
  directory: string,
  ports: readonly number[],
): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  for (const port of ports) {
    const outer = await relay({ path: socketPath(directory, port) }, { port, host: '127.0.0.1' });
    stack.defer(() => void outer.close());
  }
  const inner = namespace.inside({
    command: process.execPath,
    args: [fileURLToPath(import.meta.url), directory, ...ports.map(String)],
    name: 'loopback relay',
  });
  await stack.use(startProgram(inner)).waitForLine(/^ready$/);
  return stack.move();
}

interface Endpoint {
  readonly path?: string;
  readonly port?: number;
  readonly host?: string;
}

async function relay(from: Endpoint, to: Endpoint): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const other = connect({ ...(to as { port: number }), allowHalfOpen: true });
    joinSockets(socket, other);
  });
  server.listen(from);
  await once(server, 'listening');
  return server;
}

function joinSockets(one: Socket, other: Socket): void {
  for (const [from, into] of [
    [one, other],
    [other, one],
  ] as const) {
    pipeline(from, into).catch(() => {
      one.destroy();
      other.destroy();
    });
  }
}

function socketPath(directory: string, port: number): string {
  return join(directory, `${port}.sock`);
}

// The part inside the namespace.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory = '', ...ports] = process.argv.slice(2);
  for (const port of ports.map(Number)) {
    await relay({ port, host: '127.0.0.1' }, { path: socketPath(directory, port) });
  }
  console.log('ready');
}
