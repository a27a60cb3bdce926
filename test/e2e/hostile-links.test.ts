import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import type { TunnelErrorCode } from '../../src/tunnel/errors.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { askBroker } from '../../testkit/world/broker-http.ts';
import { echo, isServed, openClient } from '../../testkit/world/front-client.ts';
import { openSockets, untilSockets } from '../../testkit/processes/open-files.ts';
import { connectTo, RawWebSocket, type RawFrame } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { logged, startWorld, timesLogged, type World } from '../../testkit/world/world.ts';

const hello = encodeFrame(
  FrameType.hello,
  0,
  0,
  encodeMessage({ major: 1, minor: 0, software: 'hostile', session: '0'.repeat(32) }),
);
const pingOpcode = 0x89;
const binaryWithReservedBit = 0xc2;

let world: World;
let target: TestTarget;
let client: KonnectivityClient;
/** A connection that is open during the whole test, in the session of the bridge. */
let victim: Duplex;
let bridgeSession: number;
beforeAll(async () => {
  world = await startWorld();
  target = await startTarget({ mode: 'echo' });
  client = await openClient(world.front);
  victim = await client.dial(`cluster1:${target.port}`);
  await echo(victim, 'before');
  bridgeSession = Number(await logged(world.agent, 'session attached', 'session'));
});
afterAll(async () => {
  client?.close();
  await Promise.all([world?.[Symbol.asyncDispose](), target?.close()]);
});

type Role = 'agent' | 'dialer';
interface Offence {
  readonly what: string;
  readonly code: TunnelErrorCode;
  readonly by: readonly Role[];
  frames(): readonly RawFrame[];
  /** True: the frames follow when the broker has answered a HELLO. */
  readonly afterWelcome?: true;
}

const both: readonly Role[] = ['agent', 'dialer'];
const binary = (payload: Uint8Array): RawFrame => ({ payload });
const offences: readonly Offence[] = [
  {
    what: 'a frame with flags',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(Uint8Array.from(hello, (byte, at) => (at === 1 ? 1 : byte)))],
  },
  {
    what: 'a frame with reserved bits',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(Uint8Array.from(hello, (byte, at) => (at === 3 ? 1 : byte)))],
  },
  {
    what: 'a frame of an unknown type',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(Uint8Array.from(hello, (byte, at) => (at === 0 ? 0x7f : byte)))],
  },
  {
    what: 'a message shorter than a frame header',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(hello.subarray(0, 11))],
  },
  {
    what: 'a HELLO that is not MessagePack',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(encodeFrame(FrameType.hello, 0, 0, Uint8Array.of(0xc1)))],
  },
  {
    what: 'a HELLO of another version',
    code: 'version_unsupported',
    by: both,
    frames: () => {
      const message = encodeMessage({ major: 2, minor: 0, software: 'hostile' });
      return [binary(encodeFrame(FrameType.hello, 0, 0, message))];
    },
  },
  {
    what: 'a second HELLO',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(hello), binary(hello)],
  },
  {
    what: 'a control frame of more than 64 KiB',
    code: 'frame_too_large',
    by: both,
    frames: () => [binary(encodeFrame(FrameType.hello, 0, 0, new Uint8Array(65_537)))],
  },
  {
    what: 'data of more than 1 MiB',
    code: 'frame_too_large',
    by: both,
    frames: () => [
      binary(hello),
      binary(encodeFrame(FrameType.data, 1, 1, new Uint8Array(2 ** 20 + 1))),
    ],
  },
  {
    what: 'an unmasked frame',
    code: 'protocol_error',
    by: both,
    frames: () => [{ payload: hello, masked: false }],
  },
  {
    what: 'a WebSocket frame with a reserved bit',
    code: 'protocol_error',
    by: both,
    frames: () => [{ payload: hello, first: binaryWithReservedBit }],
  },
  {
    what: 'a WebSocket ping of 126 bytes',
    code: 'protocol_error',
    by: both,
    frames: () => [{ payload: new Uint8Array(126), first: pingOpcode }],
  },
  {
    what: 'data for the session of another peer',
    code: 'unknown_session',
    by: ['dialer'],
    afterWelcome: true,
    frames: () => [binary(encodeFrame(FrameType.data, bridgeSession, 1, hello))],
  },
  {
    what: 'resets of all streams in the session of another peer',
    code: 'unknown_session',
    by: ['dialer'],
    afterWelcome: true,
    frames: resetsOfBridgeSession,
  },
  {
    what: 'a frame of a session before there is one',
    code: 'unknown_session',
    by: ['dialer'],
    frames: () => [binary(hello), binary(encodeFrame(FrameType.data, 1, 1, hello))],
  },
  {
    what: 'an ATTACH',
    code: 'protocol_error',
    by: both,
    frames: () => [binary(encodeFrame(FrameType.attach, 0, 0, encodeMessage({ dialer: 'me' })))],
  },
];
function resetsOfBridgeSession(): readonly RawFrame[] {
  const failure = encodeMessage({ code: 'reset', message: 'hostile' });
  return Array.from({ length: 100 }, (_, stream) =>
    binary(encodeFrame(FrameType.reset, bridgeSession, stream, failure)),
  );
}

const cases = offences.flatMap((offence) =>
  offence.by.map((role) => ({ what: offence.what, code: offence.code, role, offence })),
);

async function open(role: Role): Promise<RawWebSocket> {
  const { tokens, brokerUrl, certificates } = world;
  const socket = await connectTo(brokerUrl, certificates.server.ca);
  if (role === 'dialer') {
    const token = await tokens.issue({ kind: 'dialer', name: 'hostile' });
    const headers = { Authorization: `Bearer ${token}` };
    return await RawWebSocket.open(socket, '/v1/clusters/cluster1/session', headers);
  }
  const token = await tokens.issue({ kind: 'agent', cluster: 'hostile' });
  return await RawWebSocket.open(socket, '/v1/agent', {
    Authorization: `Bearer ${token}`,
    'Culvert-Cluster': 'hostile',
    'Culvert-Agent': 'one',
  });
}

describe('A link after its handshake', () => {
  it.each(cases)(
    'A link that the $role breaks with $what ends with $code',
    async ({ role, code, offence }) => {
      const socketsBefore = await openSockets(world.broker);
      using link = await open(role);
      if (offence.afterWelcome) {
        link.send(binary(hello));
        // A broker sends nothing else before WELCOME.
        await link.firstMessage;
      }
      link.send(...offence.frames());
      expect(await link.closeReason).toMatch(new RegExp(`^${code}: .`));

      const event = role === 'agent' ? 'agent disconnected' : 'dialer left';
      const said = `^.*"peer":"${link.address}".*"code":"${code}".*"event":"${event}".*$`;
      await world.broker.waitForLine(new RegExp(said));
      expect(world.broker.output.match(new RegExp(said, 'gm'))).toHaveLength(1);
      await untilSockets(world.broker, socketsBefore);
    },
  );

  it("The broker drops and counts an agent's frames for another agent's session", async () => {
    const dropped = async () => {
      const { body } = await askBroker(world, '/metrics');
      return Number(/^culvert_broker_dropped_frames_total (\d+)$/m.exec(body)?.[1]);
    };
    const before = await dropped();
    using link = await open('agent');
    link.send(binary(hello), ...resetsOfBridgeSession());
    await expect.poll(dropped).toBe(before + 100);
  });

  it('A hostile link disturbs no other link', async () => {
    expect(await echo(victim, 'undisturbed')).toBe('undisturbed');
    expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
    expect(timesLogged(world.agent, 'connected to the broker')).toBe(1);
    const sessions = () =>
      timesLogged(world.agent, 'session attached') - timesLogged(world.agent, 'session detached');
    await expect.poll(sessions).toBe(1);
  });
});
