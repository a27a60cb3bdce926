import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { mountPaths } from '../../../src/addon/hub/broker-args.ts';
import { type Fields, fields } from '../../../src/addon/api/fields.ts';
import { startAgent } from '../../../src/agent/agent.ts';
import { readAgentOptions } from '../../../src/agent/options.ts';
import { generateTokenKeyPair, issueToken } from '../../../src/base/tokens/enrolment-token.ts';
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import { startBroker } from '../../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../../src/cli/broker-options.ts';
import { AgentAuthority } from '../../../testkit/world/agent-authority.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { freePort } from '../../../testkit/processes/process.ts';
import { argsOf, configurationOf, containerOf, hub, plan, podOf, secret } from './hub-fixture.ts';

const pair = await generateTokenKeyPair();
const other = await generateTokenKeyPair();
const flag = '--token-public-key=/etc/enrolment-keys/public-keys.pem';
const configuration = configurationOf({ enrolmentKeysSecretRef: { name: 'enrolment' } });
const of = (data: Readonly<Record<string, string>> | undefined, settings: Fields = {}) =>
  plan(configuration, {
    objects: data === undefined ? [] : [secret('enrolment', data)],
    settings,
  });
const good = { 'public-keys.pem': pair.publicKeyPem };

describe('the public keys of enrolment tokens', () => {
  it('The public keys of enrolment tokens are given to brokers, without other content of their Secret', () => {
    const from = of({ ...good, 'culvert-token.key': pair.privateKeyPem.reveal() });
    expect(from.problems).toEqual([]);
    expect(argsOf(from)).toContain(flag);
    expect(containerOf(from)['volumeMounts']).toContainEqual({
      name: 'enrolment-keys',
      mountPath: '/etc/enrolment-keys/',
      readOnly: true,
    });
    const items = [{ key: 'public-keys.pem', path: 'public-keys.pem' }];
    expect(fields(podOf(from)['spec'])['volumes']).toContainEqual({
      name: 'enrolment-keys',
      secret: { secretName: 'enrolment', items },
    });
  });

  it('The public keys of enrolment tokens replace no pod when they change, because brokers read them again', () => {
    const two = { 'public-keys.pem': pair.publicKeyPem + other.publicKeyPem };
    expect(podOf(of(two))).toEqual(podOf(of(good)));
  });

  it('The public keys of enrolment tokens are not mounted unless the configuration names them', () => {
    expect(argsOf(plan()).join(' ')).not.toContain('token-public-key');
  });

  const until = '; until then brokers accept no enrolment tokens';
  it.each([
    ['does not exist', undefined, `which does not exist; create it with the key public-keys.pem`],
    [
      'does not have the key',
      { 'a.pem': 'x' },
      `which Secret ${hub}/enrolment does not have; add it`,
    ],
    ['holds garbage', { 'public-keys.pem': 'x' }, 'which is not Ed25519 public keys in PEM'],
    ['is empty', { 'public-keys.pem': '' }, 'which is not Ed25519 public keys in PEM'],
    [
      'holds garbage beside a key',
      { 'public-keys.pem': pair.publicKeyPem + pair.publicKeyPem.replaceAll('M', 'A') },
      'which is not Ed25519 public keys in PEM',
    ],
    [
      'holds the private key',
      { 'public-keys.pem': pair.privateKeyPem.reveal() },
      'which holds a private key: make a new pair',
    ],
  ])(
    'The missing public keys of enrolment tokens are reported by name if the Secret %s, and the hub is still deployed',
    (_what, data, words) => {
      const from = of(data);
      expect(from.problems).toEqual([
        {
          field: 'spec.proxyServer.enrolmentKeysSecretRef',
          sentence: expect.stringContaining(words),
        },
      ]);
      expect(from.problems[0]!.sentence.endsWith(until)).toBe(true);
      expect(JSON.stringify(podOf(from))).toBe(JSON.stringify(podOf(plan())));
    },
  );
});

describe('a broker that is started as the addon starts it', () => {
  /**
   * Starts a broker with the command line of the pods. Its files are in a directory, it listens on
   * loopback, and its API server is away.
   */
  async function startAsRendered(data: Readonly<Record<string, string>>) {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-enrolment-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    await using certificates = await makeTestCertificates();
    const { cert, key, ca } = certificates.server;
    const agents = await AgentAuthority.create();
    const put = async (path: string, text: string) => {
      const file = join(directory, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
      return file;
    };
    await put(`${mountPaths.agentServer}tls.crt`, await readFile(cert, 'utf8'));
    await put(`${mountPaths.agentServer}tls.key`, await readFile(key, 'utf8'));
    await put(`${mountPaths.agentCa}ca.crt`, agents.pem);
    for (const [name, text] of Object.entries(data)) {
      await put(`${mountPaths.enrolmentKeys}${name}`, text);
    }
    const kubeconfig = await put(
      'kubeconfig',
      JSON.stringify({
        'current-context': 'hub',
        contexts: [{ name: 'hub', context: { cluster: 'hub', user: 'hub' } }],
        clusters: [{ name: 'hub', cluster: { server: `http://127.0.0.1:${await freePort()}` } }],
        users: [{ name: 'hub', user: {} }],
      }),
    );
    const [, ...argv] = argsOf(of(data, { redis: undefined }))
      .filter((arg) => !arg.startsWith('--konnectivity'))
      .map((arg) =>
        arg.replace(/\[::\]:\d+$/, '127.0.0.1:0').replace('=/etc/', `=${directory}/etc/`),
      )
      .map((arg) => (arg === '--kubernetes' ? `--kubeconfig=${kubeconfig}` : arg))
      .filter((arg) => !arg.startsWith('--install-namespace'));
    const { options } = readBrokerOptions(argv, {});
    const broker = await startBroker(options, { log: silentLogger });
    onTestFinished(() => broker.close());
    return { broker, caFile: await put('ca.crt', await readFile(ca, 'utf8')), put };
  }

  it('A broker that the addon starts accepts an agent with an enrolment token, but not with an unknown key', async () => {
    const { broker, caFile, put } = await startAsRendered(good);
    const agentWith = async (keys: typeof pair, cluster: string, log = silentLogger) => {
      const token = await issueToken(keys.privateKeyPem, { kind: 'agent', cluster }, 60_000);
      const file = await put(`${cluster}.token`, token.reveal());
      const flags = [`--cluster=${cluster}`, `--broker-url=${broker.url}`, `--token-file=${file}`];
      const { options } = readAgentOptions([...flags, `--ca-file=${caFile}`, '--tunnels=1'], {});
      const agent = await startAgent(options, { log });
      onTestFinished(() => agent.close());
      return agent;
    };
    const refused = Promise.withResolvers<LogFields | undefined>();
    const log: Logger = {
      ...silentLogger,
      warn: (_event, seen) => refused.resolve(seen),
      child: () => log,
    };
    const stranger = await agentWith(other, 'stranger', log);
    expect(await refused.promise).toMatchObject({ status: 401 });
    const agent = await agentWith(pair, 'elsewhere');
    await agent.connected;
    expect(agent.tunnelCount).toBe(1);
    expect(stranger.tunnelCount).toBe(0);
  });
});
