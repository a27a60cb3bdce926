import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { node } from '../../testkit/world/world.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import type { Deployment } from './support/deployments.ts';
import { isRolledOut } from './support/deployments.ts';
import { Installation, type Condition, type WithConditions } from './support/installation.ts';
import { addon, hubNamespace } from './support/names.ts';
import { secretOf, textIn } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const name = 'ocm-tls-profile';
const timeoutMs = 90_000;
const suites = {
  allowed: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  other: 'ECDHE-ECDSA-AES256-GCM-SHA384',
} as const;

/** The TLS options of a client. */
interface Offer {
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly ciphers?: string;
}

const tls13: Offer = { maxVersion: 'TLSv1.3' };
const tls12: Offer = { maxVersion: 'TLSv1.2' };
const tls12With = (suite: keyof typeof suites): Offer => ({ ...tls12, ciphers: suites[suite] });

/** Says which version the server takes, or what it says instead. Its stdin is what to connect with. */
const shakeHands = `
const options = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const socket = require('tls').connect({ ...options, rejectUnauthorized: false });
socket.once('secureConnect', () => { console.log(socket.getProtocol()); socket.destroy(); });
socket.once('error', (error) => console.log(error.code));`;

describe('The TLS profile of OCM', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let loads: RunningLoad[];
  let address: string;

  const brokers = () => hub.get<Deployment>('-n', hubNamespace, 'deployment', addon);
  const flags = async () => {
    const { args } = (await brokers()).spec.template.spec.containers[0]!;
    return args.filter((text) => /^--(tls-min-version|cipher-suites)=/.test(text));
  };
  const write = (data: Readonly<Record<string, string>>) =>
    hub.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace: hubNamespace },
      data,
    });
  const condition = async (type: string): Promise<Condition | undefined> => {
    const { status } = await hub.get<WithConditions>('managedproxyconfiguration', addon);
    return status?.conditions?.find((each) => each.type === type);
  };
  /** Until all brokers run with these flags, and no others are left. */
  const rolled = async (...wanted: readonly string[]) => {
    const attempt = async () =>
      (await flags()).join(' ') === wanted.join(' ') && isRolledOut(await brokers());
    await eventually(ground, attempt, { what: `brokers with ${wanted.join(' ')}`, timeoutMs });
    await installation.settle();
  };
  /** How the ports for agents and for konnectivity clients answer these TLS options. */
  const answers = async (offer: Offer) => {
    // Without a certificate the latter ends a handshake of TLS 1.2 whatever is offered.
    const secret = await secretOf(hub, hubNamespace, 'proxy-client');
    const shown = { cert: textIn(secret, 'tls.crt'), key: textIn(secret, 'tls.key') };
    const ask = async (options: object) => {
      const input = JSON.stringify({ host: address, ...offer, ...options });
      return (await hub.run(node, ['-e', shakeHands], input)).trim();
    };
    return [await ask({ port: 8091 }), await ask({ port: 8090, ...shown, ALPNProtocols: ['h2'] })];
  };
  /** A node may still route to a replaced broker until it learns of the replacement. */
  const expectAnswers = async (offer: Offer, wanted: readonly unknown[]) => {
    await expect.poll(() => answers(offer), { timeout: 20_000 }).toEqual(wanted);
  };
  const taken = (version: string) => [version, version];
  const refusal = expect.stringMatching(/^ERR_SSL/);
  const refused = [refusal, refusal];

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
    const service = ['-n', hubNamespace, 'service', 'proxy-entrypoint'] as const;
    address = (await hub.get<{ spec: { clusterIP: string } }>(...service)).spec.clusterIP;
    client = await HubClient.open(hub);
    loads = ground.managed.map((cluster) => client.load(cluster));
  }, 300_000);
  afterAll(async () => {
    await Promise.all((loads ?? []).map((load) => load.stop()));
    await client?.[Symbol.asyncDispose]();
    await hub.kubectl(['-n', hubNamespace, 'delete', 'configmap', name, '--ignore-not-found']);
    await installation.settle();
  });

  it('The TLS profile is TLS 1.2 and newer by default', async () => {
    expect(await flags()).toEqual(['--tls-min-version=VersionTLS12']);
    await expectAnswers(tls12, taken('TLSv1.2'));
    await expectAnswers(tls13, taken('TLSv1.3'));
  });

  it('An invalid TLS profile sets the condition Valid to False, and the brokers keep the last profile', async () => {
    const before = (await brokers()).metadata.generation;
    await write({ minTLSVersion: 'VersionTLS14' });
    const invalid = await eventually(
      ground,
      async () => {
        const valid = await condition('Valid');
        return valid?.status === 'False' && valid;
      },
      { what: 'condition Valid=False', timeoutMs },
    );
    expect(invalid.message).toContain(`${hubNamespace}/${name} data.minTLSVersion`);
    expect(invalid.message).toContain('VersionTLS12 or VersionTLS13 is needed');
    expect((await brokers()).metadata.generation).toBe(before);
    await expectAnswers(tls12, taken('TLSv1.2'));
  });

  it('The TLS profile sets the cipher suites of TLS 1.2 at both ports', async () => {
    const iana = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256';
    await write({ minTLSVersion: 'VersionTLS12', cipherSuites: iana });
    await rolled(`--cipher-suites=${iana}`, '--tls-min-version=VersionTLS12');
    expect(await condition('Valid')).toMatchObject({ status: 'True' });
    await expectAnswers(tls12With('allowed'), taken('TLSv1.2'));
    await expectAnswers(tls12With('other'), refused);
  });

  it('The TLS profile with TLS 1.3 makes both ports refuse TLS 1.2', async () => {
    await write({ minTLSVersion: 'VersionTLS13' });
    await rolled('--tls-min-version=VersionTLS13');
    await expectAnswers(tls12, refused);
    await expectAnswers(tls13, taken('TLSv1.3'));
  });

  it('The TLS profile returns to the default when its ConfigMap is deleted', async () => {
    await hub.kubectl(['-n', hubNamespace, 'delete', 'configmap', name]);
    await rolled('--tls-min-version=VersionTLS12');
    await expectAnswers(tls12, taken('TLSv1.2'));
  });

  it('The changes of the TLS profile fail no request of a client', async () => {
    for (const load of loads) {
      const { requests, failed, errors, slowestMs } = await load.stop();
      console.log(`${load.cluster}: ${requests} requests, the slowest ${slowestMs} ms`);
      expect({ failed, errors: errors ?? [] }).toEqual({ failed: 0, errors: [] });
      expect(requests).toBeGreaterThan(0);
    }
  });
});
