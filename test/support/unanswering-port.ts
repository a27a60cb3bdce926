import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

// The worker listens and then blocks, so the kernel's accept queue is never emptied.
const listener = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer();
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;
// Linux completes one connection more than the backlog says.
const queueLength = 2;

/**
 * A loopback port on which a connection attempt gets no answer: the kernel drops it, as a firewall would.
 * For dials that hang, time out or are cancelled.
 */
export async function startUnansweringPort(): Promise<
  AsyncDisposable & { readonly port: number; readonly address: string }
> {
  const worker = new Worker(listener, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  const queued: Socket[] = [];
  for (let i = 0; i < queueLength; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    queued.push(socket);
    await once(socket, 'connect');
  }
  return {
    port,
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of queued) socket.destroy();
      await worker.terminate();
    },
  };
}
