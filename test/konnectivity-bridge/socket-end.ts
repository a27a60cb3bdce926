import type { Socket } from 'node:net';

/** What a client received before its connection was closed. */
export interface SocketEnd {
  readonly answer: Buffer;
  /** The code of the error that closed the connection, for example `ECONNRESET`. */
  readonly error: string | undefined;
}

/** Reads until the other end has closed. */
export async function endOf(socket: Socket): Promise<SocketEnd> {
  const chunks: Buffer[] = [];
  let error: string | undefined;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', (thrown: NodeJS.ErrnoException) => (error = thrown.code));
  await new Promise((resolve) => socket.once('close', resolve));
  return { answer: Buffer.concat(chunks), error };
}

/**
 * The types of the HTTP/2 frames in `bytes` (RFC 9113, section 6).
 *
 * @throws Error if there is anything but whole frames
 */
export function http2FrameTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  let at = 0;
  while (at + 9 <= bytes.length) {
    types.push(bytes[at + 3]!);
    at += 9 + bytes.readUIntBE(at, 3);
  }
  if (at !== bytes.length) throw new Error(`not HTTP/2: ${bytes.toString('latin1')}`);
  return types;
}

export const Http2Frame = { settings: 4, goAway: 7, windowUpdate: 8 } as const;
