import { Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http';
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from 'node:https';
import type { RequestOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectThroughProxy, type ProxyRoute } from '../base/net/connect-through-proxy.ts';
import { RouteError } from '../base/net/route-error.ts';

const connectTimeoutMs = 15_000;

/** A proxy, and how it is reached. */
export type ProxyAccess = Omit<ProxyRoute, 'destination'>;

type Done = (error: Error | null, socket: Duplex) => void;

/** An https agent whose connections go through a proxy. Requests fail with a RouteError where the proxy does not connect. */
export class ProxiedHttpsAgent extends HttpsAgent {
  readonly #access: ProxyAccess;

  constructor(access: ProxyAccess, options: HttpsAgentOptions) {
    super(options);
    this.#access = access;
  }

  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    void connect(this.#access, options, done, (socket) =>
      super.createConnection({ ...options, socket } as RequestOptions),
    );
    return undefined;
  }
}

/** The same for an API server without TLS. */
export class ProxiedHttpAgent extends HttpAgent {
  readonly #access: ProxyAccess;

  constructor(access: ProxyAccess, options: HttpAgentOptions) {
    super(options);
    this.#access = access;
  }

  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    // The handshake with the proxy has paused it. Nothing is lost: a server speaks after the request.
    void connect(this.#access, options, done, (socket) => socket.resume());
    return undefined;
  }
}

/** @param onTop makes what requests are written to */
async function connect(
  access: ProxyAccess,
  { host, port }: RequestOptions,
  done: Done,
  onTop: (socket: Socket) => Duplex | null | undefined,
): Promise<void> {
  const destination = { host: (host ?? '').replace(/^\[|\]$/g, ''), port: Number(port) };
  let connection: Duplex | null | undefined;
  try {
    connection = onTop(await openTunnel({ ...access, destination }));
  } catch (thrown) {
    // Node hands the socket to a request only where there is no error.
    done(thrown as Error, undefined as unknown as Duplex);
    return;
  }
  done(null, connection!);
}

async function openTunnel(route: ProxyRoute): Promise<Socket> {
  const opened: Socket[] = [];
  const progress = { step: 'connecting' };
  const signal = AbortSignal.timeout(connectTimeoutMs);
  try {
    return await connectThroughProxy(route, { opened, progress, signal });
  } catch (thrown) {
    for (const socket of opened.toReversed()) socket.destroy();
    if (!signal.aborted) throw thrown;
    const message = `timed out after ${connectTimeoutMs / 1000} s while ${progress.step}`;
    throw new RouteError('proxy', message, { cause: thrown });
  }
}
