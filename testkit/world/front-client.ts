import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { DialError } from '../../src/konnectivity-client/dial-error.ts';
import { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import type { FrontAccess } from '../ground/konnectivity-client.ts';

/** The TypeScript konnectivity client at a front. */
export async function openClient({ address, tls }: FrontAccess): Promise<KonnectivityClient> {
  if (tls?.client === undefined) return new KonnectivityClient({ address });
  const [ca, cert, key] = await Promise.all([
    readFile(tls.serverCa),
    readFile(tls.client.cert),
    readFile(tls.client.key),
  ]);
  // An address is no name for TLS, and grpc-js would send it as one.
  return new KonnectivityClient({ address, tls: { ca, cert, key, serverName: 'localhost' } });
}

/** The reason why a dial fails. @throws Error the dial succeeded */
export async function dialFailure(client: KonnectivityClient, to: string): Promise<DialError> {
  try {
    const connection = await client.dial(to);
    connection.destroy();
  } catch (thrown) {
    if (thrown instanceof DialError) return thrown;
    throw thrown;
  }
  throw new Error(`the dial of ${to} succeeded`);
}

/**
 * Sends `text` to an echo target and resolves with as much of what came back. @throws Error it
 * ended before
 */
export async function echo(connection: Duplex, text: string): Promise<string> {
  let received = '';
  const complete = Promise.withResolvers<void>();
  const take = (bytes: Buffer) => {
    received += bytes.toString();
    if (received.length >= text.length) complete.resolve();
  };
  const ended = () => complete.reject(new Error(`the connection ended after "${received}"`));
  connection.on('data', take).on('close', ended).on('error', complete.reject);
  try {
    if (connection.closed) ended();
    else connection.write(text);
    await complete.promise;
    return received;
  } finally {
    connection.off('data', take).off('close', ended).off('error', complete.reject);
  }
}

/**
 * Dials, and resolves once the first MiB has been read. @throws Error the connection ended before
 */
export async function startDownload(client: KonnectivityClient, to: string): Promise<Duplex> {
  const connection = await client.dial(to);
  connection.on('error', () => {});
  let bytes = 0;
  const enough = Promise.withResolvers<void>();
  connection.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes >= 2 ** 20) enough.resolve();
  });
  connection.on('close', () => enough.reject(new Error(`it ended after ${bytes} bytes`)));
  await enough.promise;
  return connection;
}

/** Resolves when the connection has ended, with the error of an abort. */
export async function ended(connection: Duplex): Promise<Error | undefined> {
  const closed = Promise.withResolvers<void>();
  connection.on('error', () => {}).on('close', closed.resolve);
  connection.resume();
  if (connection.closed) closed.resolve();
  await closed.promise;
  return connection.errored ?? undefined;
}

/**
 * Dials an echo target, gets a word back and closes: true when a client is served. @throws Error
 * why it is not
 */
export async function isServed(client: KonnectivityClient, to: string): Promise<boolean> {
  const word = 'served';
  const connection = await client.dial(to);
  const received = await echo(connection, word);
  connection.end();
  await ended(connection);
  return received === word;
}
