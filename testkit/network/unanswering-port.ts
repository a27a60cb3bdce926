import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

// The worker listens and then blocks, so the kernel's accept queue is not emptied until it is
// woken.
const listener = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { connect, createServer } = require('node:net');
  const { wake, forwardTo } = workerData;
  const server = createServer((socket) => {
    const onward = forwardTo === undefined ? socket : connect(forwardTo, '127.0.0.1');
    for (const end of [socket, onward]) end.on('error', () => {});
    if (onward !== socket) socket.pipe(onward).pipe(socket);
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(wake, 0, 0);
  });
`;
// Linux completes one connection more than the backlog says.
const queueLength = 2;

export interface UnansweringPort extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** Answers from now on. Waiting attempts succeed in about a second, when the kernel retries. */
  answer(): void;
}

/**
 * A loopback port on which a connection attempt gets no answer: the kernel drops it, as a firewall
 * would. For dials that hang, time out or are cancelled, and for slow links.
 *
 * @param forwardTo a port on 127.0.0.1 where connections lead once it answers
 */
export async function startUnansweringPort(forwardTo?: number): Promise<UnansweringPort> {
  const wake = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(listener, { eval: true, workerData: { wake, forwardTo } });
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
    answer: () => {
      Atomics.store(wake, 0, 1);
      Atomics.notify(wake, 0);
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of queued) socket.destroy();
      await worker.terminate();
    },
  };
}
