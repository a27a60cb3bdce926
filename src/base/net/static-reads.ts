import { Socket } from 'node:net';
import { bulkPieceBytes } from '../bulk-piece-bytes.ts';

/**
 * All sockets of a process read into the same memory. libuv fills it right before the callback, and
 * the receiver only borrows the bytes. Fresh memory for each read costs twice the CPU
 * (docs/benchmarks.md).
 */
const readBuffer = Buffer.allocUnsafeSlow(bulkPieceBytes);

/** The fields in which Node keeps the `onread` option that a socket was created with. */
interface StaticReadFields {
  readonly buffer: symbol;
  readonly callback: symbol;
}

const staticReadFields = findStaticReadFields();

function findStaticReadFields(): StaticReadFields | undefined {
  const fields = Object.getOwnPropertySymbols(new Socket());
  const buffer = fields.find((field) => field.description === 'kBuffer');
  const callback = fields.find((field) => field.description === 'kBufferCb');
  return buffer === undefined || callback === undefined ? undefined : { buffer, callback };
}

/**
 * Makes an existing socket read into the process's shared memory, as the `onread` option of
 * `net.connect` does for a new one. Accepted sockets and TLS inside a proxy's tunnel offer no other
 * way. This uses fields of Node that are not public, so it checks that they are there.
 *
 * @param onRead gets borrowed bytes, valid until it returns; false: stop reading until
 *   `socket.resume()`
 * @returns false when this version of Node does not offer it: listen to 'data' events instead
 */
export function useStaticReads(socket: Socket, onRead: (bytes: Uint8Array) => boolean): boolean {
  const fields = socket as unknown as Record<symbol, unknown>;
  const { _handle: handle } = socket as unknown as {
    _handle?: { useUserBuffer?: (memory: Uint8Array) => void };
  };
  if (
    staticReadFields === undefined ||
    fields[staticReadFields.buffer] !== null ||
    typeof handle?.useUserBuffer !== 'function'
  ) {
    return false;
  }
  fields[staticReadFields.buffer] = readBuffer;
  // A variable of its own: V8 allocates a function that is written where it is assigned to a property
  // among the old objects. There it would keep the socket and its receiver until a full collection.
  const onCount = (count: number): boolean => onRead(readBuffer.subarray(0, count));
  fields[staticReadFields.callback] = onCount;
  handle.useUserBuffer(readBuffer);
  return true;
}

/** Lets go of the receiver of a closed socket. */
export function endStaticReads(socket: Socket): void {
  const fields = socket as unknown as Record<symbol, unknown>;
  if (staticReadFields === undefined || fields[staticReadFields.buffer] === null) return;
  fields[staticReadFields.callback] = readNothing;
}

function readNothing(): boolean {
  return false;
}
