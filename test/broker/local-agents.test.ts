import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { credentialHeader } from '../../src/base/tokens/certificate-token.ts';
import {
  generateTokenKeyPair,
  issueToken,
  TokenVerifier,
} from '../../src/base/tokens/enrolment-token.ts';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { openAuthenticator, type Authenticator } from '../../src/broker/authenticator.ts';
import { ClusterAdmission } from '../../src/broker/cluster-admission.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { LocalAgents } from '../../src/broker/node/local-agents.ts';
import { Relay } from '../../src/broker/relay.ts';
import { TokenAuthenticator } from '../../src/broker/token-authenticator.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';

const name = { cluster: 'c1', agent: 'local', instance: 'i', tunnel: 0 };
const clock = systemClock;
const log = silentLogger;

function makeRelay(): Relay {
  return new Relay({ replica: 'r', address: '', directory: new MemoryDirectory(), clock, log });
}

describe('An agent in the process of the broker', () => {
  it('A local agent gets a tunnel as a standby agent of its cluster', async () => {
    const relay = makeRelay();
    const agents = new LocalAgents(relay, {
      authenticator: openAuthenticator,
      clusterAdmission: undefined,
    });
    const link = agents.connect(name);
    const peer = new PlayedLink(link);
    const hello = { ...protocolVersion, software: 'test' };
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await peer.next(FrameType.welcome);
    expect([...relay.agents()]).toMatchObject([{ ...name, isStandby: true }]);
    relay.close();
    expect(() => agents.connect(name)).toThrow(expect.objectContaining({ code: 'draining' }));
  });

  it('A local agent with a registration is refused and disconnected as the hub decides', async () => {
    const relay = makeRelay();
    const revoked: ((cluster: string) => void)[] = [];
    const clusterAdmission = new ClusterAdmission(
      {
        isAccepted: (cluster) => cluster !== 'refused',
        onRevoked: (listener) => void revoked.push(listener),
      },
      { tunnels: relay, clock, log },
    );
    const agents = new LocalAgents(relay, { authenticator: openAuthenticator, clusterAdmission });
    const refused = { ...name, cluster: 'refused', registered: true } as const;
    expect(() => agents.connect(refused)).toThrow(expect.objectContaining({ code: 'forbidden' }));
    const link = agents.connect({ ...name, registered: true });
    const peer = new PlayedLink(link);
    const hello = { ...protocolVersion, software: 'test' };
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await peer.next(FrameType.welcome);
    for (const revoke of revoked) revoke('c1');
    expect(await peer.closed.promise).toMatchObject({ code: 'forbidden' });
    clusterAdmission.close();
    relay.close();
  });

  it('The token of a local agent is an enrolment token of an agent', async () => {
    const { publicKeyPem, privateKeyPem } = await generateTokenKeyPair();
    const authenticator = new TokenAuthenticator(await TokenVerifier.fromPem([publicKeyPem]));
    const agents = new LocalAgents(makeRelay(), { authenticator, clusterAdmission: undefined });
    const tokenOf = async (subject: TokenSubject) =>
      (await issueToken(privateKeyPem, subject, 60_000)).reveal();
    const agent = await tokenOf({ kind: 'agent', cluster: 'c1' });
    const dialer = await tokenOf({ kind: 'dialer', name: 'd' });
    expect(await agents.authenticate(agent, '192.0.2.1')).toMatchObject({ cluster: 'c1' });
    const refusal = expect.objectContaining({ name: 'AuthenticationError' });
    await expect(agents.authenticate(dialer, '192.0.2.1')).rejects.toEqual(refusal);
    await expect(agents.authenticate('x', '192.0.2.1')).rejects.toEqual(refusal);
  });

  it('The token of a ServiceAccount is checked as that of an ordinary agent, for its address', async () => {
    const asked: unknown[] = [];
    const authenticator: Authenticator = {
      authenticate: async (headers, peer) => {
        asked.push([headers.get(credentialHeader), headers.get('Authorization'), peer.address]);
        return { kind: 'agent', cluster: 'c1', registered: true };
      },
    };
    const agents = new LocalAgents(makeRelay(), { authenticator, clusterAdmission: undefined });
    const claims = btoa(JSON.stringify({ sub: 'system:serviceaccount:c1:cluster-proxy-agent' }));
    const token = `e30.${claims}.x`;
    expect(await agents.authenticate(token, '192.0.2.1')).toMatchObject({ registered: true });
    expect(asked).toEqual([[`Bearer ${token}`, null, '192.0.2.1']]);
  });
});
