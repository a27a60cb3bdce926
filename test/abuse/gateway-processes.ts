import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createSecureServer,
  type ServerHttp2Session,
} from 'node:http2';
import { createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import type { Program } from '../../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { logged, startCulvert } from '../../testkit/world/world.ts';

/** Answers a request of the gateway's cluster. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface Status {
  readonly status: number | undefined;
  readonly retryAfter: string | undefined;
}

const tokenReviews = { name: 'tokenreviews', namespaced: false, kind: 'TokenReview', verbs: [] };

/**
 * A kube-apiserver to which each token is the user of that name.
 *
 * @param hasHttp2 it offers HTTP/2, as a real one does. Its requests are like those of HTTP/1.1.
 */
async function startApiServer({ server }: TestCertificates, answer: Answer, hasHttp2: boolean) {
  const options = { cert: readFileSync(server.cert), key: readFileSync(server.key) };
  const onRequest: Answer = (request, response) => {
    const { url = '' } = request;
    if (url.endsWith('/tokenreviews')) review(request, response);
    else if (url === '/apis/authentication.k8s.io/v1') {
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ kind: 'APIResourceList', resources: [tokenReviews] }));
    } else if (url === '/version') response.end('honest');
    else answer(request, response);
  };
  const sessions = new Set<ServerHttp2Session>();
  const api = hasHttp2
    ? createSecureServer({ ...options, allowHTTP1: true }, onRequest as never)
    : createServer({ ...options, keepAliveTimeout: 0 }, onRequest);
  api.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  api.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(api, 'listening');
  const close = (): void => {
    if ('closeAllConnections' in api) api.closeAllConnections();
    for (const session of sessions) session.destroy();
    api.close();
  };
  return { port: (api.address() as AddressInfo).port, [Symbol.dispose]: close };
}

function review(request: IncomingMessage, response: ServerResponse): void {
  let text = '';
  request.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  request.on('end', () => {
    const { spec } = JSON.parse(text) as { spec: { token: string } };
    const status = { authenticated: true, user: { username: spec.token, groups: ['dev'] } };
    const kind = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {} };
    response.setHeader('Content-Type', 'application/json');
    response.writeHead(201).end(JSON.stringify({ ...kind, status }));
  });
}

/**
 * `culvert broker` with a gateway and `culvert agent` as real processes, and a kube-apiserver in
 * this process. Each token is a user. `/version` is always answered.
 */
export class GatewayProcesses implements AsyncDisposable {
  readonly broker: Program;
  readonly agent: Program;
  readonly address: { readonly host: string; readonly port: number };
  /** The kube-apiserver's answer. */
  answer: Answer = (_request, response) => void response.end();
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    parts: { readonly broker: Program; readonly agent: Program; readonly url: string },
  ) {
    this.#stack = stack;
    this.broker = parts.broker;
    this.agent = parts.agent;
    const { hostname: host, port } = new URL(parts.url);
    this.address = { host, port: Number(port) };
  }

  static async start(
    gatewayArgs: readonly string[] = [],
    { hasHttp2 = false } = {},
  ): Promise<GatewayProcesses> {
    await using stack = new AsyncDisposableStack();
    const certificates = stack.use(await makeTestCertificates());
    const { server, directory } = certificates;
    const api = stack.use(
      await startApiServer(
        certificates,
        (request, response) => processes.answer(request, response),
        hasHttp2,
      ),
    );
    const token = join(directory, 'agent-token');
    await writeFile(token, 'agent');
    const env = { CULVERT_LOG_LEVEL: 'info' };
    const broker = stack.use(
      startCulvert(
        'broker',
        [
          ...['--listen', '127.0.0.1:0', '--drain-timeout', '1s'],
          ...['--gateway-listen', '127.0.0.1:0', '--gateway-min-drain', '0s'],
          ...['--gateway-tls-cert', server.cert, '--gateway-tls-key', server.key],
          ...gatewayArgs,
        ],
        env,
      ),
    );
    const brokerUrl = await logged(broker, 'broker listens', 'url');
    const url = await logged(broker, 'gateway listens', 'url');
    const agent = stack.use(
      startCulvert(
        'agent',
        [
          ...['--broker-url', brokerUrl, '--cluster', 'c1'],
          ...['--kube-apiserver', `127.0.0.1:${api.port}`],
          ...['--kube-ca-file', server.ca, '--kube-token-file', token],
        ],
        env,
      ),
    );
    await logged(broker, 'agent connected', 'software');
    const processes = new GatewayProcesses(stack.move(), { broker, agent, url });
    return processes;
  }

  /** A GET over a connection of HTTP/1.1 of its own, whose body is read and dropped. */
  async get(path: string, token: string): Promise<Status> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = { authorization: `Bearer ${token}` };
    const target = { ...this.address, path: `/c1${path}`, headers };
    httpsRequest({ ...target, rejectUnauthorized: false, agent: false }, resolve)
      .on('error', reject)
      .end();
    const message = await promise;
    await once(message.resume(), 'close');
    return { status: message.statusCode, retryAfter: message.headers['retry-after'] };
  }

  /** @throws Error the user is not served */
  readonly probe = async (): Promise<void> => {
    const { status } = await this.get('/version', 'honest');
    if (status !== 200) throw new Error(`an honest user got ${status}`);
  };

  /** A client of HTTP/2. The caller destroys it. */
  connect(): ClientHttp2Session {
    const { host, port } = this.address;
    const session = connectHttp2(`https://${host}:${port}`, { rejectUnauthorized: false });
    session.on('error', () => {});
    return session;
  }

  /** A connection for bytes of the test, after its TLS handshake. */
  async openTls(protocol: 'h2' | 'http/1.1'): Promise<TLSSocket> {
    const options = { rejectUnauthorized: false, ALPNProtocols: [protocol] };
    const socket = connect({ ...this.address, ...options });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
