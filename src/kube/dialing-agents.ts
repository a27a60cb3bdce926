import { Agent as HttpAgent, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { asError } from '../base/error.ts';
import { connectTcp } from '../base/net/connect-tcp.ts';

const connectTimeoutMs = 15_000;

type Done = (error: Error | null, socket: Duplex) => void;

/** An http agent whose connections wait for no slow name, and use the first address of a server that answers. */
export class DialingHttpAgent extends HttpAgent {
  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    void dial(options, done, (socket) => socket);
  }
}

/** The same with TLS. */
export class DialingHttpsAgent extends HttpsAgent {
  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    void dial(options, done, (socket) =>
      super.createConnection({ ...options, socket } as RequestOptions)!,
    );
  }
}

async function dial(
  { host, port }: RequestOptions,
  done: Done,
  secure: (socket: Duplex) => Duplex,
): Promise<void> {
  let socket: Duplex;
  try {
    const target = { host: host ?? 'localhost', port: Number(port) };
    // Keys that do not fit make TLS throw.
    socket = secure(await connectTcp(target, { timeoutMs: connectTimeoutMs }));
  } catch (thrown) {
    // Node hands the socket to a request only where there is no error.
    done(asError(thrown), undefined as unknown as Duplex);
    return;
  }
  done(null, socket);
}
