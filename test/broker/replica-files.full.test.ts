import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { type Logger, silentLogger } from '../../src/base/log/logger.ts';
import { type RunningBroker, startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { readBridgeOptions } from '../../src/konnectivity-bridge/read-options.ts';
import { createRemoteDialer } from '../../src/dialer/node/remote-dialer.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { type Service, startRedis } from '../../testkit/ground/services.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

/** Files are looked at every 5 s, and a machine may be busy. */
const reloaded = { timeout: 20_000 };
const oldKey = 'the old key of the replicas';
const newKey = 'the new key of the replicas';

/** A broker whose files are its own, so that they can be changed one replica at a time. */
class Replica {
  readonly #path: (name: string) => string;
  readonly #lines: (readonly [string, LogFields | undefined])[] = [];
  broker!: RunningBroker;

  constructor(directory: string, name: string) {
    this.#path = (file) => join(directory, `${name}-${file}`);
  }

  async start(redis: Service, serverName: string): Promise<void> {
    const port = await freePort();
    const say = (event: string, fields?: LogFields) => void this.#lines.push([event, fields]);
    const log: Logger = { ...silentLogger, info: say, warn: say, error: say, child: () => log };
    const flags = [
      ...['--listen', `127.0.0.1:${port}`, '--replica-id', this.#path('id')],
      ...['--tls-cert', this.#path('tls.crt'), '--tls-key', this.#path('tls.key')],
      ...['--redis-url', `redis://127.0.0.1:${redis.port}`],
      ...['--replica-address', `wss://localhost:${port}`],
      ...['--replica-key-file', this.#path('replica.key'), '--replica-ca', this.#path('ca.crt')],
      ...['--replica-server-name', serverName],
    ];
    this.broker = await startBroker(readBrokerOptions(flags, {}).options, { log });
  }

  /** Writes one of its files, and waits until a broker that runs has taken it. */
  async put(file: string, text: string, what: string): Promise<void> {
    const taken = () =>
      this.#lines.filter(
        ([event, fields]) => event === 'files reloaded' && fields?.['what'] === what,
      ).length;
    const before = taken();
    await writeFile(this.#path(file), text);
    if (this.broker !== undefined) await vi.waitUntil(() => taken() > before, reloaded);
  }

  putKeys(...keys: readonly string[]): Promise<void> {
    return this.put('replica.key', keys.join('\n'), 'keys of the replicas');
  }

  async putTls({ cert, key }: { readonly cert: string; readonly key: string }): Promise<void> {
    await copyFile(key, this.#path('tls.key'));
    await this.put('tls.crt', await readFile(cert, 'utf8'), 'certificate and key of --listen');
  }

  async putCa(...files: readonly string[]): Promise<void> {
    const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
    await this.put('ca.crt', texts.join('\n'), 'CA of the other replicas');
  }

  /** Why it could not reach another replica, the last time. */
  get failure(): unknown {
    return this.#lines.findLast(([event]) => event.startsWith('replica did not'))?.[1]?.['error'];
  }
}

const real = { redis: await ground.debian('redis-server') };

describeWith(real, 'Two replicas with TLS between them', ({ redis }) => {
  let directory: string;
  let certificates: TestCertificates;
  let store: Service;
  let target: TestTarget;
  let stack: AsyncDisposableStack;
  let holder: Replica;
  let entrance: Replica;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-replica-files-'));
    certificates = await makeTestCertificates();
    store = await startRedis(redis);
    target = await startTarget({ mode: 'echo' });
  });
  afterAll(async () => {
    await stack?.disposeAsync();
    await target?.[Symbol.asyncDispose]();
    await store?.[Symbol.asyncDispose]();
    await certificates?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** `holder` has the agent, and `entrance` is where dialers come in. */
  beforeEach(async () => {
    await stack?.disposeAsync();
    stack = new AsyncDisposableStack();
    const { serverAuthority } = certificates;
    const tls = await serverAuthority.issue({
      name: 'replica',
      usage: 'server',
      dnsNames: ['replica.internal'],
    });
    [holder, entrance] = [new Replica(directory, 'holder'), new Replica(directory, 'entrance')];
    for (const replica of [holder, entrance]) {
      await replica.putTls(tls);
      await replica.putCa(tls.ca);
      await replica.putKeys(oldKey);
    }
    await holder.start(store, 'replica.internal');
    stack.use(holder.broker);
    const flags = ['--cluster', 'c1', '--broker-url', holder.broker.url, '--tunnels', '1'];
    const { options } = readAgentOptions(
      [...flags, '--ca-file', tls.ca, '--kube-apiserver', '127.0.0.1'],
      {},
    );
    const agent = stack.use(await startAgent(options, { log: silentLogger }));
    await agent.connected;
  });

  async function startEntrance(serverName = 'replica.internal'): Promise<void> {
    await entrance.start(store, serverName);
    stack.use(entrance.broker);
  }

  /** A stream of a session of its own, which the entrance has to forward. */
  async function dial(): Promise<DialedStream> {
    const caFile = certificates.server.ca;
    const flags = ['--broker-url', entrance.broker.url, '--ca-file', caFile];
    const { link } = readBridgeOptions(
      [...flags, '--konnectivity-listen', '127.0.0.1:0'],
      {},
    ).options;
    const dialer = stack.use(createRemoteDialer({ ...link, log: silentLogger }));
    const to = { kind: 'tcp', host: 'c1', port: target.port } as const;
    const stream = DialedStream.open(dialer, 'c1', to);
    await stream.opened;
    return stream;
  }

  it('Two replicas change their key one after the other without refusing each other', async () => {
    await startEntrance();
    const standing = await dial();
    await Promise.all([holder.putKeys(oldKey, newKey), entrance.putKeys(oldKey, newKey)]);
    await dial();
    // The entrance is ahead: it signs with the new one already.
    await entrance.putKeys(newKey, oldKey);
    await dial();
    await Promise.all([holder.putKeys(newKey), entrance.putKeys(oldKey)]);
    await expect(dial()).rejects.toMatchObject({ code: 'no_agent' });
    expect(entrance.failure).toContain('401');
    await entrance.putKeys(newKey);
    await dial();
    await standing.write(Buffer.from('still here'));
    standing.fin();
    expect((await standing.readAll()).toString()).toBe('still here');
  }, 90_000);

  it('Two replicas trust another CA only while it is in the file', async () => {
    await startEntrance();
    await dial();
    const renewed = await certificates.clientAuthority.issue({
      name: 'renewed',
      usage: 'server',
      dnsNames: ['replica.internal'],
    });
    await holder.putTls(renewed);
    await expect(dial()).rejects.toMatchObject({ code: 'no_agent' });
    expect(entrance.failure).toMatch(/certificate/);
    await entrance.putCa(certificates.server.ca, renewed.ca);
    await dial();
  }, 60_000);

  it('Two replicas expect the configured server name instead of the address', async () => {
    await startEntrance('localhost');
    await expect(dial()).rejects.toMatchObject({ code: 'no_agent' });
    expect(entrance.failure).toMatch(/replica\.internal/);
  }, 30_000);
});
