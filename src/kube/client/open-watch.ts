import type { IncomingMessage } from 'node:http';
import type { Clock, Timer } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { WatchEvent } from './kube-api.ts';
import { KubeError } from './kube-error.ts';
import type { KubeObject } from './kube-object.ts';
import { errorOf } from './status-error.ts';
import { watchLines } from './watch-lines.ts';

// An object in etcd has at most 1.5 MiB. As JSON with escapes it can be several times as long.
const maxLineBytes = 16 * 1024 * 1024;

interface WatchLimits {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly maxSilenceMs: number;
}

interface RawEvent {
  readonly type: string;
  readonly object: KubeObject;
}

const types = { ADDED: 'added', MODIFIED: 'modified', DELETED: 'deleted' } as const;

/**
 * Yields the events of a watch until the server ends it or is silent for `maxSilenceMs`. Always
 * destroys the answer.
 */
export async function* openWatch<T extends KubeObject>(
  answer: IncomingMessage,
  what: string,
  { signal, clock, maxSilenceMs }: WatchLimits,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  let isSilent = false;
  const onAbort = () => answer.destroy();
  let silence: Timer | undefined;
  const heard = () => {
    silence?.cancel();
    silence = clock.setTimer(maxSilenceMs, () => {
      // A server without changes is silent, and so is a dead connection. A new watch costs little,
      // so we do not distinguish them.
      isSilent = true;
      answer.destroy();
    });
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    heard();
    for await (const line of watchLines(answer, maxLineBytes)) {
      // The reader's own time does not count as silence.
      silence?.cancel();
      yield eventOf<T>(line, what);
      heard();
    }
  } catch (thrown) {
    signal.throwIfAborted();
    if (isSilent) return;
    if (thrown instanceof KubeError) throw thrown;
    const message = `cannot ${what}: the connection broke off (${describeError(thrown)}); culvert tries again`;
    throw new KubeError('unavailable', message, { cause: thrown });
  } finally {
    silence?.cancel();
    signal.removeEventListener('abort', onAbort);
    answer.destroy();
  }
}

function eventOf<T extends KubeObject>(line: string, what: string): WatchEvent<T> {
  const { type, object } = parseEvent(line, what);
  if (type in types) return { type: types[type as keyof typeof types], object: object as T };
  if (type === 'BOOKMARK') {
    return { type: 'bookmark', resourceVersion: object.metadata.resourceVersion ?? '' };
  }
  if (type === 'ERROR') throw errorOf(0, object, what);
  throw new KubeError('bad_response', `cannot ${what}: an event has the unknown type ${type}`);
}

function parseEvent(line: string, what: string): RawEvent {
  try {
    return JSON.parse(line) as RawEvent;
  } catch (cause) {
    const message = `cannot ${what}: an event is not JSON; is something else answering for the API server?`;
    throw new KubeError('bad_response', message, { cause });
  }
}
