import { Http2Error } from '../../src/http2/http2-error.ts';
import { defaultHttp2Limits } from '../../src/http2/http2-limits.ts';
import type { Http2ServerStream } from '../../src/http2/server-stream.ts';
import type { Http2StreamHandler } from '../../src/http2/stream-handler.ts';
import { Random } from '../chaos/random.ts';
import { frameTypes } from './frames.ts';
import { mutate, validConversation } from './fuzz-frames.ts';
import { OutputChecker } from './output-checker.ts';
import { indexedField, plainField } from './hpack-bytes.ts';
import { ScriptedConnection } from './scripted-connection.ts';

export interface FuzzReport {
  readonly conversations: number;
  readonly frames: number;
  /** How many conversations ended with each code. `none`: the connection did not fail. */
  readonly outcomes: Readonly<Record<string, number>>;
}

/** Limits that the conversations reach, so that these paths run, too. */
const limits = {
  ...defaultHttp2Limits,
  maxStreams: 8,
  windowBytes: 65_535,
  maxHeldBytes: 8_000,
  maxHeaderListBytes: 1_000,
  resetBurst: 30,
  controlBurst: 100,
  maxQueuedBytes: 32 * 1024,
};
/** What the output may hold above its limit: what one more push of frames brings. */
const outputSlackBytes = 512 * 1024;
/** No valid client opens more streams than that. */
const longestConversation = 400;
const lengths = [10, 60, 60, 60, longestConversation];
const validShare = 0.2;

const responseHead = indexedField(8);
const informationalHead = plainField(':status', '103');
const trailers = plainField('grpc-status', '0');

/**
 * Sends conversations to connections, most of them damaged, until about so many frames were sent.
 * Each conversation depends on `seed` and its number alone.
 *
 * @throws Error names the seed of a conversation that broke a rule
 */
export function fuzzHttp2({ seed, frames }: { seed: number; frames: number }): FuzzReport {
  const outcomes: Record<string, number> = {};
  let sentFrames = 0;
  let conversations = 0;
  while (sentFrames < frames) {
    const own = seed + conversations++;
    try {
      const conversation = new FuzzedConversation(own);
      sentFrames += conversation.run();
      const outcome = conversation.outcome;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    } catch (thrown) {
      throw new Error(`the conversation with seed ${own} breaks a rule`, { cause: thrown });
    }
  }
  return { conversations, frames: sentFrames, outcomes };
}

class FuzzedConversation {
  readonly #random: Random;
  readonly #isValid: boolean;
  readonly #maxStreams: number;
  readonly #scripted: ScriptedConnection;
  readonly #handlers: FuzzedHandler[] = [];
  readonly #checker = new OutputChecker();

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#isValid = this.#random.chance(validShare);
    this.#maxStreams = this.#isValid ? longestConversation : limits.maxStreams;
    this.#scripted = new ScriptedConnection({
      limits: this.#isValid ? { maxStreams: this.#maxStreams } : limits,
      onRequest: (stream) => {
        const handler = new FuzzedHandler(stream, this.#random);
        this.#handlers.push(handler);
        return handler;
      },
    });
  }

  get outcome(): string {
    return this.#scripted.failed?.code ?? 'none';
  }

  /** Returns how many frames were sent. */
  run(): number {
    const random = this.#random;
    const valid = validConversation(random, random.integer(3, random.pick(lengths)));
    const frames = this.#isValid ? valid : mutate(random, valid);
    const bytes = Buffer.concat(frames);
    const starts = startsOf(frames);
    const largestPiece = random.pick([1, 10, 100, 10_000, 10_000, 10_000]);
    for (let at = 0; at < bytes.length;) {
      const count = random.integer(1, largestPiece);
      for (; starts.length > 0 && starts[0]! < at + count; starts.shift()) {
        if (this.#isValid) this.#checker.grant(frames[frames.length - starts.length]!);
      }
      this.#scripted.push(bytes.subarray(at, at + count));
      at += count;
      if (random.chance(0.3)) this.#act();
      if (random.chance(0.5)) this.#read();
      this.#check();
    }
    for (const handler of this.#handlers) handler.resume();
    this.#read();
    this.#finish();
    return frames.length;
  }

  #act(): void {
    if (this.#handlers.length > 0) this.#random.pick(this.#handlers).act();
  }

  #read(): void {
    for (const frame of this.#scripted.read()) this.#checker.check(frame);
  }

  #check(): void {
    const { failed, unreadBytes } = this.#scripted;
    if (failed !== undefined) {
      if (!(failed instanceof Http2Error)) throw new Error('an error without a type');
      if (failed.scope !== 'connection') throw new Error(`a ${failed.scope} error ended it`);
      if (this.#isValid) throw failed;
    }
    if (unreadBytes > limits.maxQueuedBytes + outputSlackBytes) {
      throw new Error(`${unreadBytes} bytes of output wait`);
    }
    const open = this.#handlers.filter(({ isClosed }) => !isClosed).length;
    // Handlers of streams that were reset learn it when the output is flushed.
    if (open > this.#maxStreams + limits.resetBurst) throw new Error(`${open} streams are open`);
  }

  #finish(): void {
    const { failed, connection } = this.#scripted;
    if (failed !== undefined && this.#checker.last?.type !== frameTypes.goaway) {
      throw new Error('the connection failed without a GOAWAY as its last frame');
    }
    connection.destroy();
    for (const handler of this.#handlers) handler.checkEnd();
  }
}

/** The position of each frame in the bytes of the conversation. */
function startsOf(frames: readonly Buffer[]): number[] {
  let start = 0;
  return frames.map(({ length }) => (start += length) - length);
}

/** A service that does something random at each event. */
class FuzzedHandler implements Http2StreamHandler {
  readonly #stream: Http2ServerStream;
  readonly #random: Random;
  #isInside = false;
  #isEnded = false;
  isClosed = false;
  /** Sent pieces that are neither released nor abandoned. */
  #owned = 0;

  constructor(stream: Http2ServerStream, random: Random) {
    this.#stream = stream;
    this.#random = random;
  }

  onData(): void {
    this.#event('data');
    if (this.#isEnded) throw new Error('data after the end');
    if (this.#random.chance(0.3)) this.act();
  }

  onEnd(): void {
    this.#event('end');
    if (this.#isEnded) throw new Error('a second end');
    this.#isEnded = true;
    if (this.#random.chance(0.5)) this.act();
  }

  onSent(): void {
    this.#event('sent');
    if (this.#random.chance(0.2)) this.act();
  }

  onClose(): void {
    this.#event('close');
    this.isClosed = true;
    if (this.#random.chance(0.2)) this.act();
  }

  resume(): void {
    this.#do(() => this.#stream.resume());
  }

  act(): void {
    const stream = this.#stream;
    this.#do(
      this.#random.pick<() => void>([
        () => stream.respond(responseHead),
        () => this.#send(this.#random.integer(0, 50)),
        () => this.#send(this.#random.integer(0, 50)),
        () => this.#send(20_000),
        () => this.#sendCopy(this.#random.integer(0, 50)),
        () => this.#sendCopy(20_000),
        () => stream.inform(informationalHead),
        () => stream.pause(),
        () => stream.resume(),
        () => {
          stream.respond(responseHead);
          const keepsReading = this.#random.chance(0.3);
          stream.end(this.#random.chance(0.5) ? trailers : undefined, { keepsReading });
        },
        () => stream.answer(responseHead),
        () => stream.reset('CANCEL'),
      ]),
    );
    if (stream.queuedBytes < 0 || stream.queuedPieces < 0) throw new Error('fewer than no bytes');
  }

  /** After the end of the connection. */
  checkEnd(): void {
    if (!this.isClosed) throw new Error('a stream without its last event');
    if (this.#owned !== 0) throw new Error(`${this.#owned} pieces still have their owner`);
    if (this.#stream.queuedBytes !== 0) throw new Error('an ended stream has bytes in its queue');
  }

  #send(count: number): void {
    this.#stream.respond(responseHead);
    this.#owned++;
    let isTold = false;
    const told = (): void => {
      if (isTold) throw new Error('the owner of bytes is told twice');
      isTold = true;
      this.#owned--;
    };
    this.#stream.send(new Uint8Array(count), { onReleased: told, onAbandoned: told });
  }

  #sendCopy(count: number): void {
    this.#stream.respond(responseHead);
    const borrowed = new Uint8Array(count);
    this.#stream.sendCopy(borrowed);
    borrowed.fill(1);
  }

  #do(action: () => void): void {
    const wasInside = this.#isInside;
    this.#isInside = true;
    action();
    this.#isInside = wasInside;
  }

  #event(name: string): void {
    if (this.#isInside) throw new Error(`${name} inside a method of the stream`);
    if (this.isClosed) throw new Error(`${name} after the last event`);
  }
}
