import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp } from '../../src/broker/app.ts';
import { openAuthenticator, unknownPeer } from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { makeForward } from '../../src/broker/node/replicas.ts';
import { upgradeHandler } from '../../src/broker/node/upgrade.ts';
import { ReplicaAuthenticator } from '../../src/broker/replica-authenticator.ts';
import { ReplicaKeys } from '../../src/broker/replica-keys.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { acceptWebSocket } from '../../src/websocket/accept.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';

const key = await ReplicaKeys.fromText('the key of the replicas');
const version = { ...protocolVersion, software: 'test' };

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** A server on loopback; its address. */
async function serve(
  onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => void,
): Promise<string> {
  const server = createServer((_, response) => response.writeHead(404).end());
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => void sockets.push(socket));
  server.on('upgrade', (request, socket, head) => onUpgrade(request, socket as Socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A replica that other replicas reach over a real socket, with an agent of cluster `good`. */
async function makeReplica() {
  const log = new RecordingLogger();
  const directory = new MemoryDirectory();
  let forwards = 0;
  const forward = makeForward({
    keys: () => key,
    ca: () => undefined,
    serverName: undefined,
    allowPlain: false,
  });
  const server = { address: '' };
  server.address = await serve((request, socket, head) =>
    upgrades.emit('upgrade', request, socket, head),
  );
  const relay = new Relay({
    replica: 'r1',
    address: server.address,
    directory,
    forward: (owner, dialer) => {
      forwards++;
      return forward(owner, dialer);
    },
    clock: systemClock,
    log,
  });
  const app = createApp({
    relay,
    authenticator: new ReplicaAuthenticator(() => key, server.address, openAuthenticator),
    acceptRate: new AcceptRate(100, systemClock),
    clock: systemClock,
    metrics: async () => ({ contentType: '', text: '' }),
    log,
  });
  const upgrades = createServer();
  const peerOf = () => unknownPeer;
  const upgrade = upgradeHandler({
    app,
    log,
    peerOf,
    onLink: (link, client) => relay.admit(link, client),
  });
  upgrades.on('upgrade', (message, socket, head) => {
    upgrade({ message, socket: socket as Socket, head, authenticated() {} }, undefined);
  });
  const admitAgent = async (cluster: string) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster, agent: 'a', tunnel: 0 });
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(version));
    await new PlayedLink(near).next(FrameType.welcome);
  };
  await admitAgent('good');
  const dial = (cluster: string) => {
    const [mine, theirs] = memoryLinkPair(queueMicrotask);
    relay.admit(theirs, { kind: 'dialer', cluster, dialer: 'somebody' });
    const session = crypto.randomUUID().replaceAll('-', '');
    mine.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...version, session }));
    return new PlayedLink(mine);
  };
  const poison = (address: string, replica = 'r2') =>
    directory.claim({ cluster: 'bad', agent: 'p', tunnel: 0, replica, address });
  const warnings = () => log.lines.filter(({ event }) => event.startsWith('replica did not'));
  return { relay, server, admitAgent, dial, poison, warnings, forwards: () => forwards };
}

describe('A forged directory entry', () => {
  /** Strangers who take the call, by what they do with it; what they were sent is kept. */
  const strangers: Record<string, (received: string[]) => Promise<string>> = {
    'that points at a port on loopback where nobody listens': async () => 'ws://127.0.0.1:1',
    'that points at a web server on loopback': async (received) =>
      serve((request, socket) => {
        received.push(JSON.stringify(request.headers));
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      }),
    'that points at a stranger on loopback who plays the replica': async (received) =>
      serve((request, socket, head) => {
        received.push(JSON.stringify(request.headers));
        const link = acceptWebSocket(request, socket, head)!;
        const played = new PlayedLink(link);
        const welcome = { ...protocolVersion, replica: 'r2', session: 7, agent: 'p' };
        link.sendCopy(FrameType.welcome, 0, 0, encodeMessage(welcome));
        void played.next(FrameType.hello).then(() => received.push('a HELLO'));
      }),
    'that points at a replica of another deployment': async (received) => {
      const other = await ReplicaKeys.fromText('another key of replicas');
      const { answer } = await other.prove('ws://elsewhere', 'bad', 'somebody');
      return serve((request, socket, head) => {
        received.push(JSON.stringify(request.headers));
        acceptWebSocket(request, socket, head, { headers: { 'Culvert-Replica': answer } });
      });
    },
  };

  it.each(Object.keys(strangers))(
    'A forged directory entry %s gets no data: the dial ends with no_agent, logged once',
    async (what) => {
      const replica = await makeReplica();
      const received: string[] = [];
      await replica.poison(await strangers[what]!(received));
      const dialer = replica.dial('bad');
      expect(await dialer.closed.promise).toMatchObject({ code: 'no_agent' });
      expect(replica.warnings()).toMatchObject([{ fields: { owner: 'r2', code: 'link_lost' } }]);
      expect(replica.forwards()).toBe(1);
      // It saw a proof that is good for its own address alone, and not a frame.
      const heads = received.filter((text) => text.startsWith('{'));
      expect(heads).toEqual(received);
      for (const head of heads) expect(head).toContain('"user-agent":"culvert-broker/');
      expect(received.join()).not.toContain('the key of the replicas');
      expect(dialer.frames).toEqual([]);
      await replica.dial('good').next(FrameType.welcome);
    },
  );

  it("A forged directory entry with the reader's own address costs one hop and ends with no_agent, logged once", async () => {
    const replica = await makeReplica();
    await replica.poison(replica.server.address);
    expect(await replica.dial('bad').closed.promise).toMatchObject({ code: 'no_agent' });
    expect(replica.forwards()).toBe(1);
    expect(replica.warnings()).toMatchObject([{ fields: { owner: 'r2', code: 'no_agent' } }]);
    await expect.poll(() => replica.relay.dialerCount).toBe(0);
    await replica.dial('good').next(FrameType.welcome);
  });

  it("A forged directory entry under the reader's own name ends with no_agent without a call", async () => {
    const replica = await makeReplica();
    await replica.poison('ws://127.0.0.1:1', 'r1');
    expect(await replica.dial('bad').closed.promise).toMatchObject({ code: 'no_agent' });
    expect(replica.forwards()).toBe(0);
    await replica.dial('good').next(FrameType.welcome);
  });

  it('A forged directory entry with an unencrypted address ends with no_agent without a call', async () => {
    const replica = await makeReplica();
    await replica.poison('ws://192.0.2.1:8080');
    expect(await replica.dial('bad').closed.promise).toMatchObject({ code: 'no_agent' });
    expect(replica.warnings()).toMatchObject([
      { fields: { error: expect.stringContaining('ws://192.0.2.1:8080 is not encrypted') } },
    ]);
    await replica.dial('good').next(FrameType.welcome);
  });

  it('A forged directory entry beside a valid one costs a dial one more call', async () => {
    const [owner, entrance] = [await makeReplica(), await makeReplica()];
    await owner.admitAgent('far');
    const { directory } = entrance.relay.options;
    const claim = { cluster: 'far', agent: 'a', tunnel: 0 };
    await directory.claim({ ...claim, replica: 'r2', address: owner.server.address });
    // The newest is asked first.
    await directory.claim({ ...claim, agent: 'p', replica: 'r3', address: 'ws://127.0.0.1:1' });
    await entrance.dial('far').next(FrameType.welcome);
    expect(entrance.forwards()).toBe(2);
    expect(entrance.warnings()).toHaveLength(1);
  });
});
