import { writeFile } from 'node:fs/promises';
import { WebSocket } from 'ws';

/** Starts a CPU profile of the Worker by workerd's inspector. The function that it returns ends it. */
export async function profileWorker(port: number): Promise<(file: string) => Promise<void>> {
  const listing = await fetch(`http://127.0.0.1:${port}/json`);
  const [target] = (await listing.json()) as { readonly webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target!.webSocketDebuggerUrl);
  await new Promise((resolve) => void socket.once('open', resolve));
  let count = 0;
  const call = async (method: string, params = {}): Promise<{ readonly profile?: unknown }> => {
    const id = ++count;
    const { promise, resolve } = Promise.withResolvers<{ readonly profile?: unknown }>();
    const onMessage = (data: Buffer): void => {
      const message = JSON.parse(data.toString()) as { readonly id?: number; readonly result: {} };
      if (message.id !== id) return;
      socket.off('message', onMessage);
      resolve(message.result);
    };
    socket.on('message', onMessage);
    socket.send(JSON.stringify({ id, method, params }));
    return await promise;
  };
  await call('Profiler.enable');
  await call('Profiler.setSamplingInterval', { interval: 200 });
  await call('Profiler.start');
  return async (file) => {
    const { profile } = await call('Profiler.stop');
    await writeFile(file, JSON.stringify(profile));
    socket.close();
  };
}
