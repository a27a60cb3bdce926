import { startAgent, type RunningAgent } from '../../src/agent/agent.ts';
import { type AgentOptions, readAgentOptions } from '../../src/agent/options.ts';
import { generateTokenKeyPair, issueToken } from '../../src/base/tokens/enrolment-token.ts';
import type { DialerToken, TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Secret } from '../../src/base/secret.ts';
import { createRemoteDialer } from '../../src/dialer/node/remote-dialer.ts';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeWelcome, encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { connectWebSocket, type ConnectOptions } from '../../src/websocket/connect.ts';
import type { WebSocketLink } from '../../src/websocket/websocket-link.ts';
import { startLocalWorker, type LocalWorker } from '../../scripts/local-worker.ts';
import type { BrokerUnderTest } from '../contracts/broker.contract.ts';
import { CheckingOwner } from '../websocket/link-owners.ts';

const hourMs = 3_600_000;

/** The far end of a link, played by hand. */
export interface RawPeer {
  readonly link: WebSocketLink;
  /** Keeps frames, but counts DATA only. */
  readonly received: CheckingOwner;
}

/** The Worker on workerd, and what connects to it; all of it ends with the broker. */
export class EdgeBroker implements BrokerUnderTest {
  readonly worker: LocalWorker;
  readonly #privateKeyPem: Secret;
  readonly #publicKeyPem: string;
  readonly #parts = new AsyncDisposableStack();

  private constructor(worker: LocalWorker, privateKeyPem: Secret, publicKeyPem: string) {
    this.worker = this.#parts.use(worker);
    this.#privateKeyPem = privateKeyPem;
    this.#publicKeyPem = publicKeyPem;
  }

  static async start(vars: Readonly<Record<string, string>> = {}): Promise<EdgeBroker> {
    const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
    const keys = { CULVERT_TOKEN_PUBLIC_KEY: publicKeyPem };
    const worker = await startLocalWorker({ ...keys, ...vars });
    return new EdgeBroker(worker, privateKeyPem, publicKeyPem);
  }

  /** Deploys a new version of the Worker with the same key. */
  async deploy(vars: Readonly<Record<string, string>>): Promise<void> {
    await this.worker.deploy({ CULVERT_TOKEN_PUBLIC_KEY: this.#publicKeyPem, ...vars });
  }

  get agentUrl(): string {
    return this.worker.url;
  }

  get dialerUrl(): string {
    return this.worker.url;
  }

  async issueToken(subject: TokenSubject, ttlMs = hourMs): Promise<string> {
    return (await issueToken(this.#privateKeyPem, subject, ttlMs)).reveal();
  }

  /** A connected agent. */
  async agent(cluster: string, options: Partial<AgentOptions> = {}): Promise<RunningAgent> {
    const token = new Secret(await this.issueToken({ kind: 'agent', cluster }));
    const { options: own } = readAgentOptions(
      [
        ...['--broker-url', this.worker.url, '--cluster', cluster, '--tunnels=1'],
        ...['--kube-apiserver=127.0.0.1', '--drain-timeout=1s'],
      ],
      {},
    );
    const agent = await startAgent(
      {
        ...own,
        ...this.#link(token),
        ...options,
      },
      { log: silentLogger },
    );
    this.#parts.use(agent);
    await agent.connected;
    return agent;
  }

  async dialer(name = 'tester'): Promise<PooledDialer> {
    const token = new Secret(await this.issueToken({ kind: 'dialer', name }));
    return this.#parts.use(createRemoteDialer({ ...this.#link(token), log: silentLogger }));
  }

  /** A link with the right credentials, that says HELLO and then whatever a test wants. */
  async rawAgent(cluster: string, keepAlive: ConnectOptions['keepAlive'] = {}): Promise<RawPeer> {
    const token = await this.issueToken({ kind: 'agent', cluster });
    const headers = {
      Authorization: `Bearer ${token}`,
      'Culvert-Cluster': cluster,
      'Culvert-Agent': `raw-${crypto.randomUUID().slice(0, 8)}`,
    };
    const peer = await this.#connect('v1/agent', headers, keepAlive);
    await greet(peer, {});
    return peer;
  }

  /** The same for a dialer; resolves with the number of its session. */
  async rawDialer(
    cluster: string,
    { keepAlive = {}, ttlMs }: { keepAlive?: ConnectOptions['keepAlive']; ttlMs?: number } = {},
  ): Promise<RawPeer & { readonly session: number }> {
    const token = await this.issueToken({ kind: 'dialer', name: 'raw' }, ttlMs);
    const headers = { Authorization: `Bearer ${token}` };
    const peer = await this.#connect(`v1/clusters/${cluster}/session`, headers, keepAlive);
    const session = await greet(peer, { session: crypto.randomUUID().replaceAll('-', '') });
    return { ...peer, session };
  }

  /** The HTTP status that refuses the session of a dialer; undefined: the Worker admits it. */
  async refusalOf(dialer: DialerToken, cluster: string): Promise<number | undefined> {
    const token = await this.issueToken({ kind: 'dialer', ...dialer });
    const headers = { Authorization: `Bearer ${token}` };
    try {
      await this.#connect(`v1/clusters/${cluster}/session`, headers, {});
      return undefined;
    } catch (thrown) {
      if (thrown instanceof ConnectError) return thrown.status;
      throw thrown;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync();
  }

  #link(token: Secret) {
    return {
      brokerUrl: new URL(this.worker.url),
      readToken: async () => token,
      caFile: undefined,
      serverName: undefined,
      hostHeader: undefined,
      proxies: { httpProxy: undefined, httpsProxy: undefined, noProxy: undefined },
    };
  }

  async #connect(
    path: string,
    headers: Record<string, string>,
    keepAlive: ConnectOptions['keepAlive'],
  ): Promise<RawPeer> {
    const link = await connectWebSocket({
      url: new URL(path, `${this.worker.url}/`),
      headers,
      keepAlive,
    });
    this.#parts.defer(() => link.close());
    const received = new CheckingOwner();
    link.attach(received);
    return { link, received };
  }
}

async function greet({ link, received }: RawPeer, fields: object): Promise<number> {
  const hello = encodeMessage({ ...protocolVersion, software: 'test', ...fields });
  link.sendCopy(FrameType.hello, 0, 0, hello);
  await received.until(() => received.frames.length + received.closes.length > 0);
  const welcome = received.frames.shift();
  if (welcome?.type !== FrameType.welcome) throw new Error('no WELCOME came', { cause: received });
  return decodeWelcome(welcome.payload).session;
}
