import type { Clock } from '../../base/clock.ts';
import type { HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { ConnectionPool } from './connection-pool.ts';
import type { ConnectionUser } from './connection-user.ts';
import { HttpConnection } from './http-connection.ts';
import type { Endpoint, HttpServers } from './http-servers.ts';
import { requestText } from './request-text.ts';

const maxBodyBytes = 1024 * 1024;

export interface FetchOptions {
  readonly servers: HttpServers;
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly endpoint: Endpoint;
  readonly timeoutMs: number;
}

/**
 * Makes a request of the agent itself, for a small JSON document.
 *
 * @throws TunnelError `cancelled` after an abort, `timeout`, or why there is no answer
 */
export async function fetchJson(
  { servers, pool, clock, endpoint, timeoutMs }: FetchOptions,
  head: HttpRequestHead,
  authorization: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const { host, key } = endpoint;
  const ended = new AbortController();
  const answer = Promise.withResolvers<{ readonly status: number; readonly body: unknown }>();
  // Nothing waits for the answer before there is a connection.
  answer.promise.catch(() => {});
  const giveUp = (code: 'cancelled' | 'timeout'): void => {
    const sentence = `no answer of ${host} to a request of the agent itself`;
    const error = new TunnelError(code, sentence);
    answer.reject(error);
    ended.abort(error);
  };
  const onAbort = (): void => giveUp('cancelled');
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimer(timeoutMs, () => giveUp('timeout'));
  let connection: HttpConnection | undefined;
  try {
    const socket = await servers.connect(endpoint, ended.signal);
    connection = new HttpConnection(socket, (idle) => pool.put(key, idle));
    const request = requestText(head, { host, hasBody: false, authorization });
    connection.send(request, new JsonReader(answer));
    return await answer.promise;
  } catch (thrown) {
    connection?.destroy();
    ended.signal.throwIfAborted();
    throw TunnelError.from(thrown, 'dial_failed');
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

type Answer = PromiseWithResolvers<{ readonly status: number; readonly body: unknown }>;

class JsonReader implements ConnectionUser {
  readonly #answer: Answer;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #status = 0;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  onInformational(): void {}

  onHead({ status }: { readonly status: number }): void {
    this.#status = status;
  }

  onBody(bytes: Uint8Array): boolean {
    this.#bytes += bytes.length;
    if (this.#bytes > maxBodyBytes) this.#answer.reject(new Error('the answer is too long'));
    else this.#pieces.push(Buffer.from(bytes));
    return true;
  }

  onResponseTrailers(): void {}

  onComplete(): void {
    try {
      const body: unknown = JSON.parse(Buffer.concat(this.#pieces).toString());
      this.#answer.resolve({ status: this.#status, body: body ?? {} });
    } catch (thrown) {
      this.#answer.reject(thrown);
    }
  }

  onUpgrade(): void {}

  onTaken(): void {}

  onFailed(error: Error): void {
    this.#answer.reject(error);
  }
}
