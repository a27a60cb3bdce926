import { readdir, readFile, readlink } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Program } from '../../testkit/processes/process.ts';
import { handshakeText } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import {
  logged,
  loggedLine,
  startCulvert,
  startWorld,
  type World,
} from '../../testkit/world/world.ts';
import { ask, type Address, Stranger } from '../../testkit/network/stranger.ts';

/** The attacker is a pod in the managed cluster without a credential that looks for a relay. */
let world: World;
let target: TestTarget;
let agent: Program;
let status: Address;
beforeAll(async () => {
  world = await startWorld({ plain: true });
  target = await startTarget({ mode: 'echo' });
  const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
  agent = startCulvert('agent', [
    ...['--broker-url', world.brokerUrl, '--cluster', 'cluster1', '--agent-id', 'looked-at'],
    ...['--token-file', await world.tokens.file(token), '--tunnels', '1'],
    ...['--kube-apiserver', `127.0.0.1:${target.port}`, '--status-listen', '127.0.0.1:0'],
  ]);
  status = (await logged(agent, 'status listens', 'address')) as Address;
  await loggedLine(agent, 'connected to the broker');
});
afterAll(async () => {
  await agent?.stop();
  await world?.[Symbol.asyncDispose]();
  await target?.close();
});

/** The ports that a process listens on, TCP and UDP (Linux). */
async function portsOf({ pid }: Program): Promise<readonly string[]> {
  const directory = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(directory)).map((fd) => readlink(`${directory}/${fd}`).catch(() => '')),
  );
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const found: string[] = [];
  for (const kind of ['tcp', 'tcp6', 'udp', 'udp6']) {
    const lines = (await readFile(`/proc/${pid}/net/${kind}`, 'utf8')).trim().split('\n').slice(1);
    for (const line of lines) {
      const fields = line.trim().split(/\s+/);
      const [, local = '', , state, , , , , , inode = ''] = fields;
      // 0A: LISTEN. A socket of UDP takes datagrams from anybody unless it is connected (01).
      const isOpen = kind.startsWith('tcp') ? state === '0A' : state !== '01';
      if (!isOpen || !inodes.has(inode)) continue;
      found.push(`${kind} ${Number.parseInt(local.split(':')[1]!, 16)}`);
    }
  }
  return found;
}

it('An agent listens on its status port only, and on no port without a status port', async () => {
  expect(await portsOf(agent)).toEqual([`tcp ${new URL(`tcp://${status}`).port}`]);
  expect(await portsOf(world.agent)).toEqual([]);
});

it('The status port of an agent relays nothing', async () => {
  using stranger = new Stranger();
  const to = `127.0.0.1:${target.port}`;
  const attempts: readonly (string | Uint8Array)[] = [
    `CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`,
    `GET http://${to}/ HTTP/1.1\r\nHost: ${to}\r\nConnection: close\r\n\r\n`,
    `GET /api HTTP/1.1\r\nHost: ${to}\r\nConnection: close\r\n\r\n`,
    `GET //${to}/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    handshakeText('/v1/agent'),
    handshakeText('/v1/clusters/cluster1/session'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    // SOCKS 4 and 5: the address 127.0.0.1 and the port of the target.
    Uint8Array.from([4, 1, target.port >> 8, target.port & 255, 127, 0, 0, 1, 0]),
    Uint8Array.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target.port >> 8, target.port & 255]),
  ];
  const before = target.acceptedCount;
  for (const attempt of attempts) {
    const answer = await stranger.say(status, attempt);
    expect(answer).not.toMatch(/^HTTP\/1\.[01] [123]/);
  }
  expect(target.acceptedCount).toBe(before);
  expect(await ask(status, '/healthz')).toMatchObject({ status: 200 });
}, 60_000);
