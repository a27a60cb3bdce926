import { describe, expect, it } from 'vitest';
import { refuseAll, unknownPeer } from '../../src/broker/authenticator.ts';
import { ReplicaAuthenticator } from '../../src/broker/replica-authenticator.ts';
import { ReplicaKeys } from '../../src/broker/replica-keys.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { refusedStream } from '../../src/tunnel/refused-stream.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { startMemoryTunnel } from '../../testkit/link/memory-tunnel.ts';

describe('The role of a gateway', () => {
  it('A replica that forwards a session passes on the role, which no name can claim', async () => {
    const keys = await ReplicaKeys.fromText('a key that is long enough');
    const address = 'wss://b1';
    const authenticator = new ReplicaAuthenticator(() => keys, address, refuseAll('no'));
    const identityOf = async (name: string, isGateway: boolean) => {
      const { headers } = await keys.prove(address, 'c1', name, isGateway);
      return await authenticator.authenticate(new Headers(headers), unknownPeer);
    };
    expect(await identityOf('g', true)).toMatchObject({
      name: 'g',
      cluster: 'c1',
      isGateway: true,
    });
    expect(await identityOf('g', false)).toMatchObject({ name: 'g', isGateway: false });
    const long = 'n'.repeat(300);
    expect(await identityOf(long, true)).toMatchObject({ cluster: 'c1', isGateway: true });
  });

  it.each([true, false])(
    'The agent learns from ATTACH that a dialer has the role: %s',
    async (is) => {
      const seen: boolean[] = [];
      await using tunnel = await startMemoryTunnel(
        (_, stream, isGateway) => {
          seen.push(isGateway);
          stream.reset(new TunnelError('refused', 'enough'));
          return refusedStream;
        },
        { isGateway: is },
      );
      const target = { kind: 'tcp', host: 'kube', port: 443 } as const;
      await DialedStream.open(tunnel.dialer, 'c1', target).closed;
      expect(seen).toEqual([is]);
    },
  );
});
