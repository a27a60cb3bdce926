import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { type RunningGateway, startGatewayServer } from '../../src/gateway/node/gateway-server.ts';
import { openHttpExchange } from '../../src/http-exchange/open-http-exchange.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { testGateway } from '../gateway/test-gateway.ts';

/** What a client received. */
export interface Received {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
  readonly body: string;
  /** The client noticed that the answer is not complete. */
  readonly isCut: boolean;
}

/** Answers one request of the gateway's cluster with bytes of its own. */
export type RawAnswer = (socket: TLSSocket) => void;

export interface GatewayChain extends AsyncDisposable {
  readonly gateway: RunningGateway;
  /** The kube-apiserver's answer to requests that are not for `/honest`. */
  answer: RawAnswer;
  over1(path: string): Promise<Received>;
  over2(path: string): Promise<Received>;
}

const honestAnswer = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest';

/** A kube-apiserver whose bytes `answer` writes. Requests for `/honest` are served as they should. */
async function startApiServer({ server }: TestCertificates, answer: RawAnswer) {
  const files = { cert: readFileSync(server.cert), key: readFileSync(server.key) };
  const sockets = new Set<TLSSocket>();
  const api = createTlsServer({ ...files, allowHalfOpen: true } as typeof files, (socket) => {
    sockets.add(socket);
    let text = '';
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      if (!text.includes('\r\n\r\n')) return;
      const isHonest = text.startsWith('GET /honest ');
      text = '';
      if (isHonest) socket.write(honestAnswer);
      else answer(socket);
    });
  });
  await new Promise<void>((resolve) => void api.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    api.close();
  };
  return { port: (api.address() as AddressInfo).port, [Symbol.dispose]: close };
}

/** A gateway with TLS, a broker, an agent of `c1`, and a kube-apiserver that writes any bytes. */
export async function startGatewayChain(): Promise<GatewayChain> {
  await using starting = new AsyncDisposableStack();
  const certificates = starting.use(await makeTestCertificates());
  const { server: files, directory } = certificates;
  const api = starting.use(await startApiServer(certificates, (socket) => chain.answer(socket)));
  const tokenFile = join(directory, 'agent-token');
  await writeFile(tokenFile, 'agent-token');
  const { options } = readBrokerOptions(['--listen=127.0.0.1:0'], {});
  const broker = starting.use(await startBroker(options, { log: silentLogger }));
  const { options: agentOptions } = readAgentOptions(
    [
      ...['--broker-url', broker.url, '--cluster', 'c1'],
      ...['--kube-apiserver', `127.0.0.1:${api.port}`],
      ...['--kube-ca-file', files.ca, '--kube-token-file', tokenFile],
    ],
    {},
  );
  const agent = starting.use(await startAgent(agentOptions, { log: silentLogger }));
  await agent.connected;
  const core = testGateway();
  const gateway = starting.use(
    await startGatewayServer(
      {
        listen: { host: '127.0.0.1', port: 0 },
        tls: { certFile: files.cert, keyFile: files.key, clientCaFile: undefined },
      },
      {
        gateway: core.gateway,
        open: openHttpExchange(broker.gatewayDialer),
        userLimits: core.limits,
        log: silentLogger,
      },
    ),
  );
  const session = connectHttp2(gateway.url, { rejectUnauthorized: false });
  session.on('error', () => {});
  starting.defer(() => session.destroy());
  const stack = starting.move();
  const chain: GatewayChain = {
    gateway,
    answer: (socket) => void socket.write(honestAnswer),
    over1: (path) => getOver1(gateway, `/c1${path}`),
    over2: (path) => getOver2(session, `/c1${path}`),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  return chain;
}

async function getOver1({ address }: RunningGateway, path: string): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const target = { ...address, path, rejectUnauthorized: false, agent: false };
  httpsRequest(target, resolve).on('error', reject).end();
  const message = await promise;
  const pieces: Buffer[] = [];
  message.on('data', (piece: Buffer) => pieces.push(piece));
  const isCut = await new Promise<boolean>((done) => {
    message.on('error', () => {});
    message.on('close', () => done(!message.complete));
  });
  const { statusCode: status, headers, trailers } = message;
  return { status, headers, trailers, body: String(Buffer.concat(pieces)), isCut };
}

async function getOver2(session: ClientHttp2Session, path: string): Promise<Received> {
  const stream = session.request({ ':path': path });
  let headers: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  const pieces: Buffer[] = [];
  stream.on('response', (received) => (headers = received));
  stream.on('trailers', (received) => (trailers = { ...received }));
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  stream.on('error', () => {});
  await new Promise<void>((resolve) => stream.on('close', resolve));
  const status = headers[':status'] as number | undefined;
  const body = String(Buffer.concat(pieces));
  return { status, headers, trailers, body, isCut: stream.rstCode !== 0 };
}
