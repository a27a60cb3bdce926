import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { RetransmissionWatch, tableKey } from '../../../src/base/net/retransmission-watch.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

async function connected(host: string): Promise<Socket> {
  const server = createServer((socket) => socket.resume().on('error', () => {}));
  server.listen(0, host);
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, host);
  await once(socket, 'connect');
  onTestFinished(() => {
    socket.destroy();
    server.close();
  });
  return socket;
}

it.each([
  ['127.0.0.1', '/proc/self/net/tcp'],
  ['::1', '/proc/self/net/tcp6'],
])('the kernel writes a connection to %s as we expect', async (host, table) => {
  const socket = await connected(host);
  expect(await readFile(table, 'utf8')).toContain(` ${tableKey(socket)} 01 `);
});

/** A watch that reads a table with one row, made by hand, and what it does to the connection. */
async function endOf(rest: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-table-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const table = join(directory, 'tcp');
  const socket = await connected('127.0.0.1');
  const hexPort = (port = 0) => port.toString(16).toUpperCase().padStart(4, '0');
  const ends = `0100007F:${hexPort(socket.localPort)} 0100007F:${hexPort(socket.remotePort)}`;
  await writeFile(
    table,
    `  sl  local_address rem_address   st\n   0: ${ends} ${rest}        0        0 1 2\n`,
  );
  const clock = new VirtualClock();
  const watch = new RetransmissionWatch({ clock, tables: [join(directory, 'none'), table] });
  let end = 'stands';
  socket.on('error', ({ code, message }: NodeJS.ErrnoException) => (end = `${code} ${message}`));
  watch.add(socket);
  await clock.advance(30_000);
  // The table has been read when the next look is planned, or when no connection is left.
  await expect.poll(() => end !== 'stands' || clock.pendingTimers === 1).toBe(true);
  socket.destroy();
  if (!socket.closed) await once(socket, 'close');
  await clock.advance(30_000);
  await expect.poll(() => clock.pendingTimers).toBe(0);
  return end;
}

it('a connection whose bytes were repeated nine times without an answer is ended', async () => {
  expect(await endOf('01 00000001:00000000 01:0000028E 00000009')).toMatch(
    /^ETIMEDOUT .*acknowledges nothing/,
  );
});

it.each([
  ['whose bytes were repeated less often', '01 00000001:00000000 01:0000028E 00000008'],
  ['that is idle', '01 00000000:00000000 02:000003F4 00000009'],
  ['whose peer does not read', '01 00010000:00000000 04:000003F4 00000020'],
])('a connection %s is left alone', async (_, rest) => {
  expect(await endOf(rest)).toBe('stands');
});
