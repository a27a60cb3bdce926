import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemClock } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import type { Logger } from '../base/log/logger.ts';
import { formatHostPort, type HostPort } from '../base/net/host-port.ts';
import { keepAlive } from '../base/net/keep-alive.ts';
import { listenAt } from '../base/server/listen.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { ConnectOptions } from './connect-options.ts';
import { SocketPump } from '../stream-io/node/socket-pump.ts';
import type { TunnelError } from '../tunnel/errors.ts';

export interface ConnectListenerParts {
  readonly dialer: Dialer;
  readonly log: Logger;
}

/**
 * A local TCP listener whose connections lead to one target in a cluster. A connection whose dial
 * fails is reset, and the log has the reason.
 */
export class ConnectListener implements AsyncDisposable {
  readonly #options: Pick<ConnectOptions, 'cluster' | 'target'>;
  readonly #dialer: Dialer;
  readonly #log: Logger;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #idle = new Condition(() => this.#sockets.size === 0);

  private constructor(
    options: Pick<ConnectOptions, 'cluster' | 'target' | 'maxConnections'>,
    { dialer, log }: ConnectListenerParts,
  ) {
    this.#options = options;
    this.#dialer = dialer;
    this.#log = log;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.maxConnections = options.maxConnections;
    this.#server.on('connection', (socket) => this.#forward(socket));
    this.#server.on('drop', (dropped) => {
      const peer = `${dropped?.remoteAddress}:${dropped?.remotePort}`;
      log.warn('connection closed: too many are open', { peer, limit: options.maxConnections });
    });
  }

  /** @throws Error it cannot listen at the address */
  static async open(
    options: Pick<ConnectOptions, 'cluster' | 'target' | 'listen' | 'maxConnections'>,
    parts: ConnectListenerParts,
  ): Promise<ConnectListener> {
    const listener = new ConnectListener(options, parts);
    await listenAt(listener.#server, options.listen, parts.log);
    return listener;
  }

  /** The address at which it listens. */
  get address(): HostPort {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#server.close();
    await this.#idle.wait(signal);
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #forward(socket: Socket): void {
    const { cluster, target } = this.#options;
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const log = this.#log.child({ peer });
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#idle.changed();
    });
    keepAlive(socket);
    log.debug('dial', { cluster, address: formatHostPort(target) });
    const pump = new LoggedPump(socket, log);
    pump.bind(this.#dialer.open({ cluster, target: { kind: 'tcp', ...target } }, pump));
  }
}

/** Logs why a connection could not be made, or was cut. */
class LoggedPump extends SocketPump {
  readonly #log: Logger;
  #isOpen = false;

  constructor(socket: Socket, log: Logger) {
    super(socket, { clock: systemClock });
    this.#log = log;
  }

  override onOpened(): void {
    this.#isOpen = true;
    super.onOpened();
  }

  override onClose(error: TunnelError | undefined): void {
    if (error !== undefined) {
      const fields = { code: error.code, error: error.message };
      if (this.#isOpen) this.#log.info('connection was cut', fields);
      else this.#log.warn('no connection to the target', fields);
    }
    super.onClose(error);
  }
}
