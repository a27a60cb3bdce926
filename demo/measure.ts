import { once } from 'node:events';
import { type Duplex, Readable } from 'node:stream';
import { sampleGreeting } from '../src/cli/sample-target.ts';
import { send, textOf } from './tunnelled-http.ts';

export interface Measured {
  readonly dialMs: number;
  readonly roundTripMs: number;
  readonly downMBs: number;
  readonly upMBs: number;
  /** Size of each transfer. */
  readonly megabytes: number;
  /** Whether all sent bytes arrived, in both directions. */
  readonly exact: boolean;
}

const dials = 30;
const roundTrips = 300;
const transferBytes = 128_000_000;
const pieceBytes = 64 * 1024;

/** Measures the speed of connections that `dial` makes to the sample service. */
export async function measure(dial: () => Promise<Duplex>, signal: AbortSignal): Promise<Measured> {
  const dialMs = await medianMs(dials, async () => void (await dial()).destroy());

  const connection = await dial();
  const roundTripMs = await medianMs(roundTrips, () => greet(connection, signal));
  connection.destroy();

  const down = await timed(async () => await downBytes(await dial(), signal));
  const up = await timed(async () => await upBytes(await dial(), signal));
  return {
    dialMs,
    roundTripMs,
    downMBs: transferBytes / 1e3 / down.tookMs,
    upMBs: transferBytes / 1e3 / up.tookMs,
    megabytes: transferBytes / 1e6,
    exact: down.result === transferBytes && up.result === transferBytes,
  };
}

/** One request and its answer, on a connection that stays open. */
async function greet(connection: Duplex, signal: AbortSignal): Promise<void> {
  connection.write('GET / HTTP/1.1\r\nHost: demo\r\n\r\n');
  let text = '';
  while (!text.endsWith(sampleGreeting)) {
    const [piece] = (await once(connection, 'data', { signal })) as [Buffer];
    text += piece.toString();
  }
}

async function downBytes(connection: Duplex, signal: AbortSignal): Promise<number> {
  const response = await send(connection, { path: `/bytes/${transferBytes}` }, signal);
  let bytes = 0;
  for await (const piece of response) bytes += (piece as Buffer).length;
  return bytes;
}

/** The service answers with the number of bytes that it was sent. */
async function upBytes(connection: Duplex, signal: AbortSignal): Promise<number> {
  const body = Readable.from(pieces());
  return Number(await textOf(await send(connection, { method: 'POST', body }, signal)));
}

function* pieces(): Generator<Buffer> {
  const piece = Buffer.alloc(pieceBytes, '.');
  for (let left = transferBytes; left > 0; left -= pieceBytes) yield piece.subarray(0, left);
}

async function timed<T>(action: () => Promise<T>): Promise<{ tookMs: number; result: T }> {
  const startedAt = performance.now();
  const result = await action();
  return { tookMs: performance.now() - startedAt, result };
}

async function medianMs(times: number, action: () => Promise<void>): Promise<number> {
  const tookMs: number[] = [];
  for (let i = 0; i < times; i++) tookMs.push((await timed(action)).tookMs);
  return tookMs.sort((a, b) => a - b)[times >> 1]!;
}
