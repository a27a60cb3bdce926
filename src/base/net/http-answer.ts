import type { Socket } from 'node:net';
import { RouteError } from './route-error.ts';
import { untilSocket } from './until-socket.ts';

const maxHeadBytes = 16 * 1024;
const maxBodyBytes = 4 * 1024;

/**
 * The longest time that an answer can ask for, in milliseconds. Any proxy or gateway on the way can
 * answer, and a timer of more than 24 days would fire at once. It is the time for which a second
 * tunnel to the Worker waits.
 */
const longestRetryMs = 3_600_000;

/** The head of an HTTP/1.1 response. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. A repeated header is joined with commas. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes that came after the head. */
  readonly rest: Uint8Array;
}

/**
 * Reads the head of the final response and pauses the socket. Interim responses before it are
 * skipped (RFC 9110, section 15.2: a client must be able to parse any number of them). 101 is a
 * final response. All heads together have at most 16 KiB.
 *
 * @throws RouteError `not_http` the bytes are not HTTP, or longer than 16 KiB; the signal's reason;
 *   the socket's error
 */
export function readAnswer(socket: Socket, signal: AbortSignal): Promise<HttpAnswer> {
  let received: Buffer = Buffer.alloc(0);
  /** The bytes of interim responses, which `received` no longer holds. */
  let skippedBytes = 0;
  return untilSocket(socket, signal, (resolve, reject) => {
    const refuse = (message: string) => reject(new RouteError('not_http', message));
    const onData = (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      for (;;) {
        if (!'HTTP/1.'.startsWith(received.toString('latin1', 0, 7))) {
          return refuse('what answered does not speak HTTP/1.1');
        }
        const end = received.indexOf('\r\n\r\n');
        if (skippedBytes + (end < 0 ? received.length : end) > maxHeadBytes) {
          return refuse(`the response has a head of more than ${maxHeadBytes} bytes`);
        }
        if (end < 0) return;
        const rest = received.subarray(end + 4);
        const answer = parseHead(received.toString('latin1', 0, end), rest);
        if (answer === undefined) return refuse('the response has no proper status line');
        if (answer.status >= 200 || answer.status === 101) {
          socket.pause();
          return resolve(answer);
        }
        received = rest;
        skippedBytes += end + 4;
      }
    };
    socket.on('data', onData);
    socket.resume();
    return () => socket.off('data', onData);
  });
}

/**
 * Reads the start of a response's body to explain a refusal: at most 4 KiB, and only the bytes that
 * arrive before `signal` aborts.
 */
export async function readBodyStart(
  socket: Socket,
  answer: HttpAnswer,
  signal: AbortSignal,
): Promise<string> {
  const announced = Number(answer.headers.get('content-length') ?? maxBodyBytes);
  const wantedBytes = Math.min(Number.isNaN(announced) ? 0 : announced, maxBodyBytes);
  const isChunked = /\bchunked$/i.test(answer.headers.get('transfer-encoding') ?? '');
  const isEnough = () =>
    body.length >= wantedBytes || (isChunked && body.toString('latin1').endsWith('0\r\n\r\n'));
  let body: Buffer = Buffer.from(answer.rest);
  try {
    await untilSocket<void>(socket, signal, (resolve) => {
      const onData = (bytes: Buffer) => {
        body = Buffer.concat([body, bytes]);
        if (isEnough()) resolve();
      };
      socket.on('data', onData);
      socket.on('end', resolve);
      if (isEnough()) resolve();
      else socket.resume();
      return () => socket.off('data', onData);
    });
  } catch {
    // The answer is valid without its body.
  }
  return (isChunked ? unchunked(body) : body).toString('utf8', 0, maxBodyBytes);
}

/** Decodes the chunks of a body, as far as they have arrived (RFC 9112, section 7.1). */
function unchunked(body: Buffer): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.toString('latin1', at, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) return Buffer.concat(pieces);
    pieces.push(body.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

function parseHead(head: string, rest: Uint8Array): HttpAnswer | undefined {
  const [statusLine = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)(?: |$)/.exec(statusLine)?.[1];
  if (status === undefined) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    const earlier = headers.get(name);
    headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
  }
  return { status: Number(status), headers, rest };
}

/**
 * Reads Retry-After, which holds seconds or a date. A longer time counts as `longestRetryMs`.
 *
 * @param nowMs the time of day, in milliseconds since 1970 (default: the system's)
 */
export function retryAfterMs(
  { headers }: Pick<HttpAnswer, 'headers'>,
  nowMs = Date.now(),
): number | undefined {
  const value = headers.get('retry-after');
  if (value === undefined) return undefined;
  const waitMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(waitMs) ? undefined : Math.min(longestRetryMs, Math.max(0, waitMs));
}
