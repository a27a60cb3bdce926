import {
  Agent as HttpAgent,
  type AgentOptions as HttpAgentOptions,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { asError } from '../../base/error.ts';
import { connectTcp } from '../../base/net/connect-tcp.ts';
import { connectThroughProxy, type ProxyRoute } from '../../base/net/connect-through-proxy.ts';
import { RouteError } from '../../base/net/route-error.ts';
import type { HostPort } from '../../base/net/host-port.ts';

const connectTimeoutMs = 15_000;

/** A proxy and the CAs to trust for it. */
export type ProxyAccess = Omit<ProxyRoute, 'destination'>;

type Done = (error: Error | null, socket: Duplex) => void;

/**
 * An HTTP agent that uses the first address of a server that answers, or that connects through a
 * proxy. Requests fail with a RouteError if the proxy does not connect.
 */
export class DialingHttpAgent extends HttpAgent {
  readonly #access: ProxyAccess | undefined;

  constructor(options: HttpAgentOptions, access: ProxyAccess | undefined) {
    super(options);
    this.#access = access;
  }

  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    // The handshake with a proxy has paused the socket. No data is lost, because a server answers
    // after the request.
    void dial(this.#access, options, done, (socket) => socket.resume());
  }
}

/** A `DialingHttpAgent` with TLS. */
export class DialingHttpsAgent extends HttpsAgent {
  readonly #access: ProxyAccess | undefined;

  constructor(options: HttpsAgentOptions, access: ProxyAccess | undefined) {
    super(options);
    this.#access = access;
  }

  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    void dial(this.#access, options, done, (socket) =>
      super.createConnection({ ...options, socket } as RequestOptions),
    );
  }
}

/**
 * @param onTop makes the stream for requests from the socket. Throws if certificate and key do not
 *   match.
 */
async function dial(
  access: ProxyAccess | undefined,
  options: RequestOptions,
  done: Done,
  onTop: (socket: Socket) => Duplex | null | undefined,
): Promise<void> {
  const host = (options.host ?? 'localhost').replace(/^\[|\]$/g, '');
  const destination = { host, port: Number(options.port) };
  let connection: Duplex | null | undefined;
  try {
    connection = onTop(await connect(access, destination));
  } catch (thrown) {
    // Node gives the socket to a request only if there is no error.
    done(asError(thrown), undefined as unknown as Duplex);
    return;
  }
  done(null, connection!);
}

async function connect(access: ProxyAccess | undefined, destination: HostPort): Promise<Socket> {
  if (access === undefined) return await connectTcp(destination, { timeoutMs: connectTimeoutMs });
  const opened: Socket[] = [];
  const progress = { step: 'connecting' };
  const signal = AbortSignal.timeout(connectTimeoutMs);
  try {
    return await connectThroughProxy({ ...access, destination }, { opened, progress, signal });
  } catch (thrown) {
    for (const socket of opened.toReversed()) socket.destroy();
    if (!signal.aborted) throw thrown;
    const message = `timed out after ${connectTimeoutMs / 1000} s while ${progress.step}`;
    throw new RouteError('proxy', message, { cause: thrown });
  }
}
