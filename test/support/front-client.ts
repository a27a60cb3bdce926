import { once } from 'node:events';
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

/** Why a dial fails. @throws Error it succeeded */
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

/** Sends `text` to an echo target and resolves when all of it has come back. */
export async function echo(connection: Duplex, text: string): Promise<void> {
  let received = '';
  const complete = Promise.withResolvers<void>();
  const take = (bytes: Buffer) => {
    received += bytes.toString();
    if (received.length < text.length) return;
    if (received === text) complete.resolve();
    else complete.reject(new Error(`sent ${text}, got ${received}`));
  };
  const ended = () => complete.reject(new Error(`the connection ended after ${received}`));
  connection.on('data', take).on('close', ended).on('error', complete.reject);
  try {
    connection.write(text);
    await complete.promise;
  } finally {
    connection.off('data', take).off('close', ended).off('error', complete.reject);
  }
}

/** Resolves when the connection is over, with what broke it off, if anything did. */
export async function ended(connection: Duplex): Promise<Error | undefined> {
  let failure: Error | undefined;
  connection.on('error', (error) => (failure = error));
  connection.resume();
  if (!connection.destroyed) await once(connection, 'close');
  return failure ?? connection.errored ?? undefined;
}

/** Dials, echoes a word, closes: what a client needs to work. */
export async function isServed(client: KonnectivityClient, to: string): Promise<void> {
  const connection = await client.dial(to);
  await echo(connection, 'served');
  connection.end();
  await ended(connection);
}
