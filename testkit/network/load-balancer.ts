import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP load balancer on loopback: backends in turn, the next one where a backend refuses. */
export interface LoadBalancer extends AsyncDisposable {
  readonly port: number;
  /** Replaces the backends for new connections. */
  setPorts(ports: readonly number[]): void;
  /** Cuts every open connection, as a balancer does that is restarted. */
  cut(): void;
}

export async function startLoadBalancer(ports: readonly number[] = []): Promise<LoadBalancer> {
  let backends = ports;
  let next = 0;
  const open = new Set<Socket>();
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
  };
  const reach = async (): Promise<Socket | undefined> => {
    for (let tried = 0; tried < backends.length; tried++) {
      const socket = connect({
        host: '127.0.0.1',
        port: backends[next++ % backends.length]!,
        noDelay: true,
      });
      track(socket);
      try {
        await once(socket, 'connect');
        return socket;
      } catch {
        // Tries the next backend.
      }
    }
    return undefined;
  };
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (near) => {
    track(near);
    void reach().then((far) => {
      if (far === undefined || near.destroyed) return near.destroy();
      near.pipe(far).pipe(near);
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      return near.resume();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    setPorts: (changed) => (backends = changed),
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
