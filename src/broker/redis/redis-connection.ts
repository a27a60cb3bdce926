import { Backoff } from '../../base/backoff.ts';
import { systemClock } from '../../base/clock.ts';
import { asError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { ReloadStatus } from '../../base/files/reloaded-files.ts';
import {
  clusterNodes,
  isCluster,
  makeClient,
  makeSubscriber,
  type RedisClient,
  type RedisClientOptions,
  type RedisSubscriber,
} from './redis-client.ts';
import { RedisError } from './redis-error.ts';
import type { RedisScript } from './redis-scripts.ts';
import type { RedisTarget } from './redis-target.ts';
import { openRedisTls, type RedisTlsFiles } from './redis-tls.ts';

/** Learns what happens to a connection. */
export interface RedisListener {
  /** Redis answers commands, for the first time or again. It may have lost data in between. */
  onReady(): void;
  onLost(error: RedisError): void;
  /** Messages arrive from now on. Earlier messages may have been missed. */
  onSubscribed(): void;
  /** Redis refuses to subscribe. The connection tries again. */
  onSubscribeRefused(error: RedisError): void;
  onMessage(message: string): void;
}

export interface RedisConnectionOptions {
  readonly target: RedisTarget;
  readonly tls?: RedisTlsFiles | undefined;
  /** The channel to subscribe to. */
  readonly channel: string;
  /** How long an answer may take, in milliseconds. */
  readonly commandTimeoutMs: number;
  readonly log: Logger;
}

type Arguments = readonly (string | number)[];
type Scripted = Record<string, (key: string, ...args: Arguments) => Promise<unknown>>;

const reconnect = { baseMs: 100, capMs: 2_000 };
/**
 * The delay after Redis has refused to subscribe, in milliseconds. An administrator must grant the
 * right first.
 */
const refusedRetryMs = 30_000;

/**
 * One connection for commands and one for messages. Both reconnect when they are lost. A command
 * never waits for a connection: it is answered in time or fails, and without a connection it fails
 * at once.
 */
export class RedisConnection {
  /** The files of TLS; undefined: there are none. */
  readonly files: ReloadStatus | undefined;
  readonly #options: RedisClientOptions;
  readonly #channel: string;
  readonly #client: RedisClient;
  readonly #backoff = new Backoff(reconnect);
  readonly #subscriberBackoff = new Backoff(reconnect);
  #subscriber: RedisSubscriber | undefined;
  #subscribed = false;
  /** The least delay of the next attempt to subscribe, in milliseconds. */
  #subscribeAgainMs = 0;
  #closed = false;
  #lastError: Error | undefined;

  /** @throws Error a file of `tls` cannot be read */
  static async create(options: RedisConnectionOptions): Promise<RedisConnection> {
    const { target, commandTimeoutMs, channel } = options;
    const tls = await openRedisTls(target, options.tls, options.log);
    const client = { target, tls: tls?.options, commandTimeoutMs };
    return new RedisConnection(client, channel, tls?.files);
  }

  private constructor(
    options: RedisClientOptions,
    channel: string,
    files: ReloadStatus | undefined,
  ) {
    this.#options = options;
    this.files = files;
    this.#channel = channel;
    this.#client = makeClient(options, () => this.#backoff.nextDelayMs());
    this.#client.on('error', (error: Error & { readonly lastNodeError?: Error }) => {
      this.#lastError = error.lastNodeError ?? error;
    });
  }

  /** Whether messages arrive. */
  get subscribed(): boolean {
    return this.#subscribed;
  }

  /**
   * Connects, and reconnects until `close`. Resolves after the first attempt.
   *
   * @throws RedisError the first attempt failed
   */
  async open(listener: RedisListener): Promise<void> {
    this.#client.on('ready', () => {
      this.#backoff.reset();
      this.#lastError = undefined;
      listener.onReady();
    });
    this.#client.on('close', () => {
      if (!this.#closed) listener.onLost(this.#translate('the connection was lost'));
    });
    this.#client.on('end', () => this.#connectAgain());
    const subscribed = this.#subscribe(listener);
    try {
      await this.#inTime(this.#client.connect());
    } finally {
      await subscribed;
    }
  }

  /** @throws RedisError */
  run(script: RedisScript, key: string, args: Arguments): Promise<unknown> {
    return this.#inTime((this.#client as unknown as Scripted)[script.name]!(key, ...args));
  }

  /**
   * Runs a script once for each of `calls`, in one round trip where that is possible.
   *
   * @returns an answer or an error for each call
   * @throws RedisError no answer came in time
   */
  async runAll(
    script: RedisScript,
    calls: readonly { readonly key: string; readonly args: Arguments }[],
  ): Promise<unknown[]> {
    if (isCluster(this.#client)) {
      // A pipeline goes to one node, and does not follow slots that have moved.
      const scripted = this.#client as unknown as Scripted;
      const running = calls.map(({ key, args }) =>
        this.#inTime(scripted[script.name]!(key, ...args)).catch((error: unknown) => error),
      );
      return Promise.all(running);
    }
    const pipeline = this.#client.pipeline();
    for (const { key, args } of calls) {
      void (pipeline as unknown as Scripted)[script.name]!(key, ...args);
    }
    const results = await this.#inTime(pipeline.exec());
    return (results ?? []).map(([error, answer]) => (error ? this.#translate(error) : answer));
  }

  /** Replaces the connection for messages if it does not answer. */
  async checkSubscriber(): Promise<void> {
    const subscriber = this.#subscriber;
    if (subscriber === undefined || !this.#subscribed) return;
    try {
      await this.#inTime(subscriber.ping());
    } catch {
      subscriber.disconnect();
    }
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#subscribed = false;
    this.#client.disconnect();
    this.#subscriber?.disconnect();
    this.files?.[Symbol.dispose]();
  }

  /**
   * Reconnects after ioredis has given up: a client of Sentinels does so when a failover happens
   * while it connects.
   */
  #connectAgain(): void {
    if (this.#closed) return;
    systemClock.setTimer(this.#backoff.nextDelayMs(), () => {
      // A failure is another 'end'.
      if (!this.#closed && this.#client.status === 'end') this.#client.connect().catch(() => {});
    });
  }

  /** Resolves after the first attempt. Later attempts follow until `close`. */
  async #subscribe(listener: RedisListener): Promise<void> {
    const subscriber = makeSubscriber(this.#options, clusterNodes(this.#client));
    this.#subscriber = subscriber;
    // The connection for commands reports why Redis is away.
    subscriber.on('error', () => {});
    subscriber.on('message', (_channel, message) => listener.onMessage(message));
    subscriber.once('end', () => {
      this.#subscribed = false;
      if (this.#closed) return;
      systemClock.setTimer(this.#subscriberBackoff.nextDelayMs(this.#subscribeAgainMs), () => {
        if (!this.#closed) void this.#subscribe(listener);
      });
    });
    try {
      await this.#inTime(subscriber.connect());
      await this.#inTime(subscriber.subscribe(this.#channel));
      if (this.#closed) return;
      this.#subscribed = true;
      this.#subscriberBackoff.reset();
      this.#subscribeAgainMs = 0;
      listener.onSubscribed();
    } catch (thrown) {
      const refused = (thrown as RedisError).code === 'refused';
      this.#subscribeAgainMs = refused ? refusedRetryMs : 0;
      if (refused && !this.#closed) listener.onSubscribeRefused(thrown as RedisError);
      subscriber.disconnect();
    }
  }

  // Uses the system clock even where a test's clock is virtual, because Redis is real.
  async #inTime<T>(answer: Promise<T>): Promise<T> {
    const { commandTimeoutMs } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = systemClock.setTimer(commandTimeoutMs, () =>
      late.reject(
        this.#translate(this.#lastError ?? new Error(`no answer within ${commandTimeoutMs} ms`)),
      ),
    );
    try {
      return await Promise.race([answer, late.promise]);
    } catch (thrown) {
      throw this.#translate(thrown);
    } finally {
      timer.cancel();
    }
  }

  /** Turns errors of ioredis and of the network into ours. */
  #translate(thrown: unknown): RedisError {
    if (thrown instanceof RedisError) return thrown;
    const error = asError(thrown);
    // The error that ended the connection tells more than "there is no connection".
    const cause = error.name === 'ReplyError' ? error : (this.#lastError ?? error);
    // Not kept as the cause, because an error of Redis contains the command, which in a handshake
    // contains the password.
    if (cause.name === 'ReplyError') return new RedisError('refused', cause.message);
    return new RedisError('away', cause.message, { cause });
  }
}
