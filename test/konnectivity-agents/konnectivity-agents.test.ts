import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { agentSubject } from '../../src/base/names/agent-subject.ts';
import { defaultKonnectivityAgentsLimits } from '../../src/konnectivity-agents/options.ts';
import { GrpcStatus } from '../../src/konnectivity/front.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { grpcMessage } from '../konnectivity-bridge/wire.ts';
import { type ScriptedAgent, settle, until } from './scripted-agent.ts';
import { type AgentsWorld, type ClientStream, startAgentsWorld } from './world.ts';

const limits = defaultKonnectivityAgentsLimits;
const tcp = { network: 'tcp' } as const;
let certificates: TestCertificates;

beforeAll(async () => {
  certificates = await makeTestCertificates();
});

afterAll(async () => {
  await certificates[Symbol.asyncDispose]();
});

let world: AgentsWorld;

beforeEach(async () => {
  world = await startAgentsWorld(certificates.server);
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

/** An agent with this id that has been accepted. */
async function connect(id = 'a', identifiers = ''): Promise<ScriptedAgent> {
  const agent = world.front.connect({
    metadata: { agentid: [id], agentidentifiers: [identifiers] },
  });
  await world.established();
  return agent;
}

/** The last dial that the agent has got. */
function lastDial(agent: ScriptedAgent) {
  return agent.of('dial_request').at(-1)!;
}

/** A connection through this agent, which gives it this id. */
async function open(agent: ScriptedAgent, connectId: number): Promise<ClientStream> {
  const client = await world.dial('t:80');
  agent.dialResponse(lastDial(agent).random, connectId);
  await until(() => client.isOpen);
  return client;
}

describe('A standard agent that connects', () => {
  it('A standard agent gets the id and the number of servers in the head, once and at once', () => {
    const agent = world.front.connect();
    expect(agent.head).toEqual({ serverid: 'server', servercount: '1' });
    expect(agent.status).toBeUndefined();
    expect(world.metrics.read('agents')).toBe(1);
  });

  it.each([
    [{}, 'expected one agent ID in the context, got []'],
    [{ agentid: ['a', 'b'] }, 'expected one agent ID in the context, got [a b]'],
    [
      { agentid: ['a'], agentidentifiers: ['host=a', 'host=b'] },
      'expected at most one set of agent identifiers in the context, got [host=a host=b]',
    ],
    [
      { agentid: ['a'], agentidentifiers: ['host=a;b'] },
      'fail to parse url encoded string: invalid semicolon separator in query',
    ],
    [{ agentid: ['a'.repeat(257)] }, 'the agent ID is longer than 256 characters'],
  ])(
    'A standard agent with the metadata %j is refused with the text of upstream',
    (metadata, text) => {
      const agent = world.front.connect({ metadata });
      expect(agent.status).toEqual([GrpcStatus.unknown, text]);
      expect(agent.head).toEqual({});
      expect(world.warnings).toEqual(['konnectivity agent refused invalid_metadata']);
    },
  );

  it('A standard agent beyond the limit of its cluster is refused', async () => {
    await using small = await startAgentsWorld(
      certificates.server,
      {},
      {
        limits: { maxAgentsPerCluster: 1 },
      },
    );
    expect(small.front.connect().status).toBeUndefined();
    expect(small.front.connect().status?.[0]).toBe(GrpcStatus.unknown);
    expect(small.warnings).toEqual(['konnectivity agent refused too_many_agents']);
    expect(small.metrics.read('refused_agents/too_many_agents')).toBe(1);
  });
});

describe('The cluster of a standard agent', () => {
  const subjectOf = (cluster: string) => {
    const { commonName, organizations } = agentSubject(cluster, 'x');
    return { commonNames: [commonName], organizations };
  };

  it('The subject of the certificate names the cluster, and identifiers reach no other cluster', async () => {
    await using many = await startAgentsWorld(certificates.server, {
      cluster: undefined,
      strategies: ['destHost', 'default'],
    });
    const liar = many.front.connect({
      metadata: { agentid: ['a'], agentidentifiers: ['host=c1&host=t'] },
      subject: subjectOf('c2'),
    });
    const honest = many.front.connect({ subject: subjectOf('c1') });
    await many.established('c1');
    await many.established('c2');
    await many.dial('t:80', 'c1');
    await many.dial('t:81', 'c2');
    expect(honest.of('dial_request').map(({ address }) => address)).toEqual(['t:80']);
    expect(liar.of('dial_request').map(({ address }) => address)).toEqual(['t:81']);
  });

  it.each([
    { commonNames: ['open-cluster-management:cluster-proxy:proxy-agent'], organizations: [] },
    {
      ...subjectOf('c1'),
      organizations: [...subjectOf('c1').organizations, ...subjectOf('c2').organizations],
    },
    { ...subjectOf('c1'), commonNames: [...subjectOf('c1').commonNames, 'x'] },
    { commonNames: subjectOf('c2').commonNames, organizations: subjectOf('c1').organizations },
  ])('The subject %j is refused, because it does not name one cluster', async (subject) => {
    await using many = await startAgentsWorld(certificates.server, { cluster: undefined });
    const agent = many.front.connect({ subject });
    expect(agent.status?.[1]).toContain('the certificate names no cluster, or several');
    expect(many.warnings).toEqual(['konnectivity agent refused unauthenticated']);
  });

  const serviceAccount = { namespace: 'ns', name: 'sa', audience: 'aud' };
  const tls = () => ({
    certFile: certificates.server.cert,
    keyFile: certificates.server.key,
    clientCaFile: undefined,
  });
  const good = { authenticated: true, username: 'system:serviceaccount:ns:sa', error: '' };

  it.each([
    [undefined, good, 'Authentication context was not found in metadata'],
    [['Bearer x', 'Bearer y'], good, 'too many (2) tokens are received'],
    [['Basic x'], good, 'received token does not have "Bearer " prefix'],
    [['Bearer x'], { ...good, error: 'no' }, 'lookup failed: no'],
    [
      ['Bearer x'],
      { ...good, authenticated: false },
      'lookup failed: service account jwt not valid',
    ],
    [['Bearer x'], { ...good, username: 'me' }, 'lookup failed: unexpected username format'],
    [
      ['Bearer x'],
      { ...good, username: 'system:node:ns:sa' },
      'lookup failed: username returned is not a service account',
    ],
    [
      ['Bearer x'],
      { ...good, username: 'system:serviceaccount:other:sa' },
      'lookup failed: incoming request from "other" namespace. Expected "ns"',
    ],
    [
      ['Bearer x'],
      { ...good, username: 'system:serviceaccount:ns:other' },
      'lookup failed: incoming request from "other" service account. Expected "sa"',
    ],
    [['Bearer x'], new Error('away'), 'Failed to authenticate request. err:away'],
  ])(
    'An agent with the tokens %j and the review %j is refused: %s',
    async (authorization, review, text) => {
      await using tokens = await startAgentsWorld(
        certificates.server,
        { tls: tls(), serviceAccount },
        {
          reviewToken: async () => {
            if (review instanceof Error) throw review;
            return review;
          },
        },
      );
      const metadata = { agentid: ['a'], ...(authorization && { authorization }) };
      const agent = tokens.front.connect({ metadata });
      await settle();
      expect(agent.status?.[0]).toBe(GrpcStatus.unknown);
      expect(agent.status?.[1]).toContain(text);
      expect(agent.head).toEqual({});
      expect(tokens.metrics.read('agents')).toBe(0);
    },
  );

  it('A token of the ServiceAccount is reviewed for the audience, and then the head is sent', async () => {
    const asked: string[][] = [];
    const answer = Promise.withResolvers<typeof good>();
    await using tokens = await startAgentsWorld(
      certificates.server,
      { tls: tls(), serviceAccount },
      {
        reviewToken: (...question) => {
          asked.push(question);
          return answer.promise;
        },
      },
    );
    const metadata = { agentid: ['a'], authorization: ['Bearer secret\n'] };
    const agent = tokens.front.connect({ metadata });
    await settle();
    expect(agent.head).toBeUndefined();
    answer.resolve(good);
    await settle();
    expect(asked).toEqual([['secret', 'aud']]);
    expect(agent.head).toEqual({ serverid: 'server', servercount: '1' });
    await tokens.established();
    await tokens.dial('t:80');
    expect(agent.of('dial_request')).toHaveLength(1);
  });

  it('Agents of one address have a limited number of open reviews', async () => {
    const answer = Promise.withResolvers<typeof good>();
    await using tokens = await startAgentsWorld(
      certificates.server,
      { tls: tls(), serviceAccount },
      { reviewToken: () => answer.promise },
    );
    const metadataOf = (id: number) => ({ agentid: [`a${id}`], authorization: ['Bearer x'] });
    const agents = Array.from({ length: limits.maxReviewsPerAddress + 1 }, (_, id) =>
      tokens.front.connect({ metadata: metadataOf(id) }),
    );
    await settle();
    expect(agents.filter(({ status }) => status !== undefined)).toEqual([agents.at(-1)]);
    answer.resolve(good);
    await until(() => tokens.agents.agentCount === limits.maxReviewsPerAddress);
    // A second connection of an agent does not count.
    const again = tokens.front.connect({ metadata: metadataOf(0) });
    await until(() => again.head !== undefined);
    expect(again.status).toBeUndefined();
    expect(tokens.agents.agentCount).toBe(limits.maxReviewsPerAddress);
  });

  it('A token that names its cluster is accepted for that cluster', async () => {
    await using tokens = await startAgentsWorld(
      certificates.server,
      { tls: tls(), cluster: undefined },
      { clusterOfToken: async (token, address) => ({ cluster: `${token}-${address.length}` }) },
    );
    const metadata = { agentid: ['a'], authorization: ['Bearer c'] };
    const agent = tokens.front.connect({ metadata });
    // The address is without its port.
    await tokens.established('c-9');
    await tokens.dial('t:80', 'c-9');
    expect(agent.of('dial_request')).toHaveLength(1);
  });

  it('Options without any credential are refused', async () => {
    await expect(startAgentsWorld(certificates.server, { tls: tls() })).rejects.toMatchObject({
      code: 'invalid_options',
    });
  });
});

describe('A connection of a standard agent', () => {
  it('A connection carries bytes both ways, and ends at the agent after the client', async () => {
    const agent = await connect();
    const client = await world.dial('target.example:443');
    const { random } = lastDial(agent);
    expect(lastDial(agent)).toEqual({
      ...tcp,
      kind: 'dial_request',
      address: 'target.example:443',
      random,
    });
    expect(client.isOpen).toBe(false);
    agent.dialResponse(random, 7);
    await settle();
    expect(client.isOpen).toBe(true);
    client.stream.write(Buffer.from('question'));
    await settle();
    expect(agent.received(7)).toBe('question');
    agent.data(7, 'ans');
    agent.data(7, 'wer');
    await settle();
    expect(client.received).toBe('answer');
    client.close();
    await settle();
    expect(agent.of('close_request')).toEqual([]);
    await world.clock.advance(limits.closeDelayMs);
    await settle();
    expect(agent.of('close_request')).toEqual([{ kind: 'close_request', connectId: 7 }]);
    agent.closeResponse(7);
    await settle();
    expect(client.end).toBe('ok');
    expect(world.metrics.read('connections')).toBe(0);
  });

  it('A connection that the target closes delivers all bytes and ends for the client', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    agent.data(1, 'last');
    agent.closeResponse(1);
    await settle();
    expect([client.received, client.hasFin]).toEqual(['last', true]);
    expect(client.isStopped).toBe(true);
    client.stream.fin();
    await settle();
    expect(client.end).toBe('ok');
  });

  it('A connection that the agent ends with an error is reset with its text', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    agent.closeResponse(1, 'unrecognized connectID');
    await settle();
    expect(client.end).toMatchObject({ code: 'target_reset', message: 'unrecognized connectID' });
  });

  it('A half-close of the client keeps the answer, and closes once the target is silent', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    client.stream.fin();
    await settle();
    await world.clock.advance(limits.halfCloseIdleMs - 1);
    agent.data(1, 'late');
    await world.clock.advance(limits.halfCloseIdleMs - 2);
    expect(agent.of('close_request')).toEqual([]);
    await world.clock.advance(10);
    await settle();
    expect(client.received).toBe('late');
    expect(agent.of('close_request')).toEqual([{ kind: 'close_request', connectId: 1 }]);
    agent.closeResponse(1);
    await settle();
    // The last CREDIT waits for other frames.
    await world.clock.advance(5);
    expect(client.end).toBe('ok');
  });

  it.each([
    ['dial tcp 1.2.3.4:80: connect: connection refused', 'refused'],
    ['dial tcp: lookup x on 1.1.1.1:53: no such host', 'dns'],
    ['dial tcp 1.2.3.4:80: i/o timeout', 'timeout'],
    ['dial tcp 1.2.3.4:80: connect: no route to host', 'unreachable'],
    ['something else', 'dial_failed'],
  ])(
    'A dial that fails with "%s" has the code %s and the text of the agent',
    async (text, code) => {
      const agent = await connect();
      const client = await world.dial('t:80');
      agent.dialResponse(lastDial(agent).random, 0, text);
      await settle();
      expect(client.end).toMatchObject({ code, message: text });
      expect(world.metrics.read(`failed_dials/${code}`)).toBe(1);
    },
  );

  it('A dial that the client cancels is cancelled at the agent, and a late connection is closed', async () => {
    const agent = await connect();
    const client = await world.dial('t:80');
    const { random } = lastDial(agent);
    client.stream.reset(new TunnelError('cancelled', 'x'));
    await settle();
    expect(agent.of('dial_close')).toEqual([{ kind: 'dial_close', random }]);
    agent.dialResponse(random, 9);
    expect(agent.of('close_request')).toEqual([{ kind: 'close_request', connectId: 9 }]);
    expect(world.metrics.read('pending_dials')).toBe(0);
  });

  it('A connection whose client left during the dial may send until the agent has closed it', async () => {
    const agent = await connect();
    const other = await open(agent, 1);
    const client = await world.dial('t:81');
    client.stream.reset(new TunnelError('cancelled', 'x'));
    await settle();
    agent.dialResponse(lastDial(agent).random, 9);
    // What the target has sent before CLOSE_REQ arrives at the agent.
    for (let count = 0; count < 2 * limits.maxStrayPackets; count++) agent.data(9, 'x');
    await settle();
    expect([agent.status, other.end]).toEqual([undefined, undefined]);
    expect(world.metrics.read('connections')).toBe(2);
    agent.closeResponse(9);
    expect(world.metrics.read('connections')).toBe(1);
    // Then its id belongs to no connection.
    agent.data(9, 'x');
    expect(agent.of('close_request').map(({ connectId }) => connectId)).toEqual([9, 9]);
  });

  it('A dial that the agent does not answer ends in time, and later dials prefer another agent', async () => {
    const agent = await connect('a');
    const client = await world.dial('t:80');
    const other = await connect('b');
    await world.clock.advance(limits.dialTimeoutMs);
    await until(() => client.end !== undefined);
    expect(client.end).toMatchObject({ code: 'timeout' });
    expect(agent.of('dial_close')).toHaveLength(1);
    for (const port of [81, 82, 83]) await world.dial(`t:${port}`);
    expect([agent, other].map((one) => one.of('dial_request').length)).toEqual([1, 3]);
  });

  it('The window of bytes that the agent does not take is given back when it reads again', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    agent.isStalled = true;
    const piece = Buffer.alloc(64 * 1024);
    let writes = 0;
    while (client.stream.write(piece) && writes < 1000) {
      writes++;
      await settle();
    }
    // Not more than the first window of a stream, because nothing is given back.
    expect(writes).toBeLessThan(40);
    const sent = agent.of('data').length;
    agent.release();
    await settle();
    client.stream.write(piece);
    await settle();
    expect(agent.of('data').length).toBeGreaterThan(sent);
  });
});

describe('Several standard agents of a cluster', () => {
  it('Two calls with one agent id keep their dials and connections apart', async () => {
    const first = await connect('same');
    const one = await open(first, 1);
    const second = await connect('same');
    first.drain();
    const two = await open(second, 1);
    first.data(1, 'for one');
    second.data(1, 'for two');
    await settle();
    expect([one.received, two.received]).toEqual(['for one', 'for two']);
    first.closeResponse(1);
    await settle();
    expect([one.hasFin, two.hasFin]).toEqual([true, false]);
  });

  it('A newer connection of the same agent id gets no dials while the older one serves', async () => {
    const first = await connect('same');
    const second = await connect('same');
    for (const port of [1, 2, 3]) await world.dial(`t:${port}`);
    expect(second.of('dial_request')).toEqual([]);
    first.vanish();
    await until(() => second.of('dial_request').length === 3);
    const other = await connect('other');
    for (const port of [4, 5, 6, 7]) await world.dial(`t:${port}`);
    expect(other.of('dial_request')).toHaveLength(3);
    expect(second.of('dial_request')).toHaveLength(4);
  });

  it('A dial whose agents are lost one after the other goes to the last one', async () => {
    const agents = [await connect('a'), await connect('b'), await connect('c'), await connect('d')];
    const client = await world.dial('t:80');
    for (const agent of agents.slice(0, 3)) {
      await until(() => agent.of('dial_request').length === 1);
      agent.vanish();
    }
    const last = agents.at(-1)!;
    await until(() => last.of('dial_request').length === 1);
    last.dialResponse(lastDial(last).random, 1);
    await until(() => client.isOpen);
    expect(client.end).toBeUndefined();
  });

  it('A dial whose agent is lost goes to another agent, and open connections end', async () => {
    const first = await connect('a');
    const client = await open(first, 1);
    const second = await connect('b');
    const pending = await world.dial('t:81');
    expect(second.of('dial_request')).toHaveLength(1);
    second.vanish();
    await settle();
    expect(lastDial(first).address).toBe('t:81');
    first.dialResponse(lastDial(first).random, 2);
    await settle();
    expect(pending.isOpen).toBe(true);
    first.vanish();
    await settle();
    expect(client.end).toMatchObject({ code: 'agent_lost' });
    expect(pending.end).toMatchObject({ code: 'agent_lost' });
    expect(world.relay.tunnelCount('c1')).toBe(0);
  });

  it('An agent that drains gets no dials unless all drain', async () => {
    const first = await connect('a');
    const second = await connect('b');
    first.drain();
    for (const port of [1, 2]) await world.dial(`t:${port}`);
    expect(second.of('dial_request')).toHaveLength(2);
    second.drain();
    for (const port of [3, 4, 5]) await world.dial(`t:${port}`);
    expect(first.of('dial_request').length).toBeGreaterThan(0);
    expect(world.metrics.read('draining_agents')).toBe(2);
  });

  it('A listener counts the packets from and to standard agents by type', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    client.stream.write(Buffer.from('request'));
    await until(() => agent.of('data').length === 1);
    agent.data(1, 'response');
    agent.closeResponse(1);
    await settle();
    agent.drain();
    expect([...world.packets.entries()]).toEqual([
      ['from_agent', 'DIAL_RSP', 1],
      ['from_agent', 'CLOSE_RSP', 1],
      ['from_agent', 'DATA', 1],
      ['from_agent', 'DRAIN', 1],
      ['to_agent', 'DIAL_REQ', 1],
      ['to_agent', 'DATA', 1],
    ]);
  });

  it('A listener for standard agents that drains serves dials until its users have drained', async () => {
    const users = Promise.withResolvers<void>();
    const agent = await connect();
    const drained = world.agents.drain(new AbortController().signal, users.promise);
    await settle();
    const client = await open(agent, 1);
    users.resolve();
    client.close();
    agent.closeResponse(1);
    await drained;
    expect(agent.status).toBeDefined();
  });

  it('A cluster with our own agent sends new dials there and keeps open connections', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    const [near, far] = memoryLinkPair(queueMicrotask);
    world.relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'ours', tunnel: 0 });
    const ours = new PlayedLink(near);
    const hello = { ...protocolVersion, software: 'test' };
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await ours.next(FrameType.welcome);
    await settle();
    world.start('t:81');
    await ours.next(FrameType.attach);
    expect(agent.of('dial_request')).toHaveLength(1);
    agent.data(1, 'still');
    await settle();
    expect(client.received).toBe('still');
    near.close();
    await settle();
    await world.dial('t:82');
    expect(lastDial(agent).address).toBe('t:82');
  });
});

describe('A standard agent that breaks the protocol', () => {
  let neighbour: ScriptedAgent;

  beforeEach(() => {
    neighbour = world.front.connect({ metadata: { agentid: ['neighbour'] } });
  });

  /** How the agent was disconnected, if its neighbour was not. */
  const disconnection = (agent: ScriptedAgent) => {
    expect(neighbour.status).toBeUndefined();
    return [agent.status?.[0], ...world.warnings];
  };
  const disconnected = (code: string) => [
    GrpcStatus.internal,
    `konnectivity agent was disconnected ${code}`,
  ];

  it('An agent that sends no packets is disconnected', async () => {
    const agent = await connect();
    agent.sendBytes(grpcMessage(Buffer.alloc(20, 0xff)));
    expect(disconnection(agent)).toEqual(disconnected('malformed_packet'));
  });

  it('An agent that answers a dial with an id in use is disconnected, and its connections end', async () => {
    neighbour.drain();
    const agent = await connect();
    const client = await open(agent, 1);
    const second = await world.dial('t:81');
    agent.dialResponse(lastDial(agent).random, 1);
    await settle();
    expect(disconnection(agent)).toEqual(disconnected('protocol_error'));
    expect(client.end).toMatchObject({ code: 'agent_lost' });
    expect(second.end).toMatchObject({ code: 'dial_failed' });
  });

  it('An agent that opens connections that nobody dialed is told to close them', async () => {
    const agent = await connect();
    agent.dialResponse(99n, 5);
    agent.data(6, 'x');
    agent.data(6, 'y');
    expect(agent.of('close_request').map(({ connectId }) => connectId)).toEqual([5, 6]);
    expect(agent.status).toBeUndefined();
  });

  it('An agent that floods with packets for no connection is disconnected', async () => {
    const agent = await connect();
    for (let count = 0; count <= limits.maxStrayPackets; count++) agent.data(1, 'x');
    expect(disconnection(agent)).toEqual(disconnected('flood'));
  });

  it('Bytes of an agent after the end of a connection reach nobody', async () => {
    neighbour.drain();
    const agent = await connect();
    const client = await open(agent, 1);
    client.close();
    await world.clock.advance(limits.closeDelayMs);
    await settle();
    for (let count = 0; count < 2 * limits.maxStrayPackets; count++) agent.data(1, 'x');
    await settle();
    expect(client.receivedBytes).toBe(0);
    expect(agent.status).toBeUndefined();
  });
});

describe('A client that does not read', () => {
  const mib = Buffer.alloc(1024 * 1024);

  it('A client that does not read holds its agent back, and loses its connection if others wait', async () => {
    const agent = await connect();
    const stalled = await open(agent, 1);
    const other = await open(agent, 2);
    stalled.isReading = false;
    for (let count = 0; count < 4 && !agent.isPaused; count++) {
      agent.data(1, mib);
      await settle();
    }
    expect(agent.isPaused).toBe(true);
    expect(world.metrics.read('backlog_bytes')).toBeGreaterThan(limits.maxStreamBacklogBytes);
    await world.clock.advance(limits.stalledReaderMs);
    await settle();
    expect(stalled.end).toMatchObject({ code: 'overloaded' });
    expect(agent.of('close_request')).toEqual([{ kind: 'close_request', connectId: 1 }]);
    expect(agent.isPaused).toBe(false);
    expect(world.metrics.read('backlog_bytes')).toBe(0);
    agent.data(2, 'fine');
    await settle();
    expect(other.received).toBe('fine');
  });

  it('A client that reads again in time keeps its connection and loses no byte', async () => {
    const agent = await connect();
    const slow = await open(agent, 1);
    await open(agent, 2);
    slow.isReading = false;
    for (let count = 0; count < 3; count++) agent.data(1, mib);
    await settle();
    expect(agent.isPaused).toBe(true);
    await world.clock.advance(limits.stalledReaderMs - 1);
    slow.readOn();
    await settle();
    expect(agent.isPaused).toBe(false);
    expect(slow.receivedBytes).toBe(3 * mib.length);
    await world.clock.advance(limits.stalledReaderMs);
    expect(slow.end).toBeUndefined();
  });

  it('A client that is alone with its agent may pause as long as it likes', async () => {
    const agent = await connect();
    const alone = await open(agent, 1);
    alone.isReading = false;
    for (let count = 0; count < 3; count++) agent.data(1, mib);
    await settle();
    await world.clock.advance(10 * limits.stalledReaderMs);
    expect([alone.end, agent.isPaused]).toEqual([undefined, true]);
  });

  it('Bytes that wait for clients count after the target has closed, and hold the agent back', async () => {
    const agent = await connect();
    const other = await open(agent, 1);
    const stalled: ClientStream[] = [];
    const mostClients = (2 * limits.maxAgentBacklogBytes) / mib.length;
    while (stalled.length < mostClients && !agent.isPaused) {
      const connectId = 2 + stalled.length;
      const client = await open(agent, connectId);
      client.isReading = false;
      stalled.push(client);
      agent.data(connectId, mib);
      agent.closeResponse(connectId);
      await settle();
    }
    expect(agent.isPaused).toBe(true);
    expect(world.metrics.read('backlog_bytes')).toBeGreaterThan(limits.maxAgentBacklogBytes);
    await world.clock.advance(limits.stalledReaderMs);
    await settle();
    // One of them was enough.
    const ended = stalled.filter(({ end }) => end !== undefined);
    expect(ended.map(({ end }) => end)).toMatchObject([{ code: 'overloaded' }]);
    expect([agent.isPaused, other.end]).toEqual([false, undefined]);
    for (const client of stalled) client.readOn();
    await settle();
    const whole = stalled.filter(
      ({ receivedBytes, hasFin }) => hasFin && receivedBytes === mib.length,
    );
    expect(whole).toHaveLength(stalled.length - 1);
    expect(world.metrics.read('backlog_bytes')).toBe(0);
  });

  it('A client that is slow to read does not hold back an agent whose target has closed', async () => {
    const agent = await connect();
    await open(agent, 1);
    const slow = await open(agent, 2);
    slow.isReading = false;
    for (let count = 0; count < 3; count++) agent.data(2, mib);
    await settle();
    expect(agent.isPaused).toBe(true);
    agent.closeResponse(2);
    expect(agent.isPaused).toBe(false);
    await world.clock.advance(2 * limits.stalledReaderMs);
    expect([slow.end, slow.hasFin]).toEqual([undefined, false]);
    slow.readOn();
    await settle();
    expect([slow.receivedBytes, slow.hasFin]).toEqual([3 * mib.length, true]);
  });
});

describe('A server that shuts down', () => {
  it('A drain waits for open connections, and then disconnects the agents', async () => {
    const agent = await connect();
    const client = await open(agent, 1);
    let isDrained = false;
    void world.agents.drain(new AbortController().signal).then(() => (isDrained = true));
    await settle();
    expect([isDrained, agent.status, world.front.isAccepting]).toEqual([false, undefined, false]);
    client.stream.reset(new TunnelError('reset', 'x'));
    await settle();
    agent.closeResponse(1);
    await settle();
    expect(isDrained).toBe(true);
    expect(agent.status?.[0]).toBe(GrpcStatus.unavailable);
  });
});
