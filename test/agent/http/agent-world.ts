import { readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net';
import { join } from 'node:path';
import { DestinationPolicy } from '../../../src/agent/destination-policy.ts';
import type { HttpRequests } from '../../../src/agent/http/http-requests.ts';
import { makeHttpRequests } from '../../../src/agent/http/make-http-requests.ts';
import { TargetStreams } from '../../../src/agent/target-streams.ts';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import type {
  HttpExchange,
  HttpExchangeOptions,
  HttpRequestHead,
} from '../../../src/http-exchange/http-exchange.ts';
import { openHttpExchange } from '../../../src/http-exchange/open-http-exchange.ts';
import type { TunnelError } from '../../../src/tunnel/errors.ts';
import { RecordedExchange } from '../../../testkit/link/linked-exchanges.ts';
import { RecordingLogger } from '../../../testkit/link/linked-sessions.ts';
import { type MemoryTunnel, startMemoryTunnel } from '../../../testkit/link/memory-tunnel.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';

/** An exchange whose end can be waited for. */
export class AwaitedExchange extends RecordedExchange {
  readonly closed: Promise<TunnelError | undefined>;
  readonly #closed = Promise.withResolvers<TunnelError | undefined>();
  readonly #waits: { readonly isMet: () => boolean; readonly resolve: () => void }[] = [];

  constructor() {
    super();
    this.closed = this.#closed.promise;
  }

  /** Resolves when the condition is met, which is looked at whenever something arrives. */
  until(isMet: () => boolean): Promise<void> {
    if (isMet()) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waits.push({ isMet, resolve });
    void this.closed.then((error) => reject(error ?? new Error('the exchange has ended')));
    return promise;
  }

  override onHead(...args: Parameters<RecordedExchange['onHead']>): void {
    super.onHead(...args);
    this.#look();
  }

  override onData(bytes: Uint8Array): void {
    super.onData(bytes);
    this.#look();
  }

  override onInformational(...args: Parameters<RecordedExchange['onInformational']>): void {
    super.onInformational(...args);
    this.#look();
  }

  override onWritable(): void {
    super.onWritable();
    this.#look();
  }

  override onClose(error: TunnelError | undefined): void {
    super.onClose(error);
    this.#look();
    this.#closed.resolve(error);
  }

  #look(): void {
    for (const { isMet, resolve } of this.#waits) if (isMet()) resolve();
  }
}

export interface AgentWorldOptions {
  readonly isGateway?: boolean;
  readonly enableImpersonation?: boolean;
  /** Makes the kube-apiserver (default: a server of HTTP/1.1 with the given listener). */
  readonly makeKube?: (certificate: { readonly key: Buffer; readonly cert: Buffer }) => Server;
  /** How the agent names the kube-apiserver (default: by its address). */
  readonly kubeHost?: string;
  /** How long a dial may take, in milliseconds (default 5,000). */
  readonly dialTimeoutMs?: number;
  /** Times the connections (default: the system's). Dials have the system's. */
  readonly clock?: Clock;
}

/** An agent's HTTP half behind a tunnel in memory, and servers on loopback. */
export class AgentWorld implements AsyncDisposable {
  readonly log: RecordingLogger;
  readonly requests: HttpRequests;
  readonly tokenFile: string;
  readonly #certificates: TestCertificates;
  readonly #servers: readonly Server[];
  readonly #tunnel: MemoryTunnel;
  readonly #servicePort: number;

  private constructor(
    parts: {
      certificates: TestCertificates;
      servers: Server[];
      tunnel: MemoryTunnel;
      requests: HttpRequests;
      log: RecordingLogger;
    },
    servicePort: number,
  ) {
    this.requests = parts.requests;
    this.log = parts.log;
    this.#certificates = parts.certificates;
    this.tokenFile = join(parts.certificates.directory, 'token');
    this.#servers = parts.servers;
    this.#tunnel = parts.tunnel;
    this.#servicePort = servicePort;
  }

  /** @param kube answers as the kube-apiserver; @param service as the Service `shop/web` */
  static async start(
    kube: RequestListener | undefined,
    service: RequestListener | ((socket: Socket) => void),
    {
      isGateway = true,
      enableImpersonation = true,
      makeKube = (certificate) => createHttpsServer(certificate, kube),
      kubeHost = '127.0.0.1',
      dialTimeoutMs = 5_000,
      clock = systemClock,
    }: AgentWorldOptions = {},
    raw = false,
  ): Promise<AgentWorld> {
    const certificates = await makeTestCertificates();
    const { directory, server: files } = certificates;
    await writeFile(join(directory, 'token'), 'agent-token\n');
    const [key, cert] = await Promise.all([readFile(files.key), readFile(files.cert)]);
    const kubeServer = makeKube({ key, cert });
    const serviceServer = raw
      ? createTcpServer({ allowHalfOpen: true }, service as (socket: Socket) => void)
      : createHttpServer(service as RequestListener);
    const [kubePort, servicePort] = await Promise.all([listen(kubeServer), listen(serviceServer)]);
    const log = new RecordingLogger();
    const policy = new DestinationPolicy({
      cluster: 'c1',
      clusterAlias: 'alias',
      kubeApiserver: { host: kubeHost, port: kubePort },
      allow: [`*.shop.svc:${servicePort}`, `127.0.0.1:${servicePort}`],
    });
    const targets = new TargetStreams({
      policy,
      dialTimeoutMs,
      clock: systemClock,
      names: { lookup: async () => ({ addresses: ['127.0.0.1'] }) },
      log,
    });
    const requests = makeHttpRequests(
      {
        cluster: 'c1',
        kubeCaFile: files.ca,
        kubeTokenFile: join(directory, 'token'),
        serviceCaFile: undefined,
        enableImpersonation,
      },
      { targets, clock, log },
    );
    const tunnel = await startMemoryTunnel(
      ({ target, ...request }, stream, isKnownGateway) => {
        if (target.kind !== 'http') throw new Error('unexpected TCP target');
        return requests.accept({ target, ...request }, stream, isKnownGateway);
      },
      { isGateway },
    );
    const servers = [kubeServer, serviceServer];
    return new AgentWorld({ certificates, servers, tunnel, requests, log }, servicePort);
  }

  get servicePort(): number {
    return this.#servicePort;
  }

  /** Asks the Service `shop/web`, unless the options name another server. */
  open(
    head: Partial<HttpRequestHead> = {},
    options: Partial<HttpExchangeOptions> = {},
  ): AwaitedExchange {
    const recorded = new AwaitedExchange();
    const port = String(this.#servicePort);
    recorded.exchange = openHttpExchange(this.#tunnel.dialer)(
      {
        cluster: 'c1',
        server: { kind: 'service', scheme: 'http', namespace: 'shop', name: 'web', port },
        credentials: 'caller',
        hasBody: false,
        head: { method: 'GET', path: '/', headers: [], ...head },
        ...options,
      },
      recorded,
    ) satisfies HttpExchange;
    return recorded;
  }

  /** Asks the kube-apiserver. */
  openKube(
    head: Partial<HttpRequestHead> = {},
    options: Partial<HttpExchangeOptions> = {},
  ): AwaitedExchange {
    return this.open(head, { server: { kind: 'kube-apiserver' }, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tunnel[Symbol.asyncDispose]();
    this.requests.close();
    for (const server of this.#servers) server.close();
    await this.#certificates[Symbol.asyncDispose]();
  }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
