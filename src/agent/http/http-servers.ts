import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { keepAlive } from '../../base/net/keep-alive.ts';
import { connectTls, trustOf } from '../../base/net/connect-tls.ts';
import { formatHostPort } from '../../base/net/host-port.ts';
import { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import type { Logger } from '../../base/log/logger.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { HttpRequest, HttpServer, TcpRequest } from '../../tunnel/stream-request.ts';
import type { Destination } from '../destination-policy.ts';
import { type DialOptions, dialTarget } from '../dial-target.ts';
import type { TargetStreams } from '../target-streams.ts';
import { readServerCas } from './own-credentials.ts';

/** A server as the agent dials it. */
export interface Endpoint {
  /** The key of its connections in the pool. */
  readonly key: string;
  readonly destination: Destination;
  /** For requests without Host. */
  readonly host: string;
  readonly isTls: boolean;
  /** For the limits and the records of dials. */
  readonly dialed: TcpRequest;
}

export interface HttpServersOptions {
  readonly targets: TargetStreams;
  /** The name of the cluster, which leads to its kube-apiserver. */
  readonly cluster: string;
  /** The CA of the kube-apiserver, and of Services. */
  readonly kubeCaFile: string;
  /** A further CA of Services. */
  readonly serviceCaFile: string | undefined;
  readonly log: Logger;
}

const kubeApiserverPort = 443;

/** The servers that requests are sent to: their addresses, and connections to them. */
export class HttpServers {
  readonly #options: HttpServersOptions;
  readonly #kubeCa: LastGoodCa;
  readonly #serviceCa: LastGoodCa;

  constructor(options: HttpServersOptions) {
    this.#options = options;
    this.#kubeCa = new LastGoodCa('--kube-ca-file', options.log);
    this.#serviceCa = new LastGoodCa('--service-ca-file', options.log);
  }

  /** The state of the CA files. */
  get files(): readonly LastGoodCa[] {
    return [this.#kubeCa, this.#serviceCa];
  }

  /**
   * The endpoint of a request.
   *
   * @param port the Service's port; its name was looked up before
   * @throws TunnelError `forbidden_target` the operator's list does not allow it
   */
  endpointOf(request: HttpRequest, port: number): Endpoint {
    const { targets, cluster } = this.#options;
    const { server } = request.target;
    const isService = server.kind === 'service';
    const name = isService ? { host: serviceHost(server), port } : kubeName(cluster);
    const dialed: TcpRequest = { ...request, target: { kind: 'tcp', ...name } };
    const destination = targets.destinationOf(dialed);
    const host = formatHostPort({ host: destination.host, port: destination.port });
    const isTls = !isService || server.scheme === 'https';
    return { key: `${isTls ? 'https' : 'http'} ${host}`, destination, host, isTls, dialed };
  }

  /**
   * Checks the Service of a request before its port is looked up.
   *
   * @throws TunnelError `forbidden_target` no Service has such a name, or the operator's list allows
   *   none of its ports
   */
  checkService(service: Extract<HttpServer, { kind: 'service' }>, user: string | undefined): void {
    this.#options.targets.checkHost(serviceHost(service), service.port, user);
  }

  /**
   * Opens a connection.
   *
   * @param signal cancels the lookup of the name, the dial and the TLS handshake
   * @param protocols that the TLS handshake offers (default: HTTP/1.1 alone)
   * @throws TunnelError `cancelled` after an abort; any other code says why there is no connection
   */
  async connect(
    endpoint: Endpoint,
    signal: AbortSignal,
    protocols?: readonly string[],
  ): Promise<Socket> {
    if (signal.aborted) throw cancelled();
    const { destination, dialed } = endpoint;
    const { targets } = this.#options;
    const dial = targets.beginDial(dialed, destination);
    const socket = await connectTcp(destination, dial, signal);
    keepAlive(socket);
    targets.open.add(socket, () => socket.destroy());
    try {
      // The signal may have aborted between the connection and this continuation.
      if (signal.aborted) throw cancelled();
      if (!endpoint.isTls) return socket;
      return await this.#secure({ endpoint, under: socket, dial, protocols }, signal);
    } catch (thrown) {
      socket.destroy();
      throw TunnelError.from(thrown, 'dial_failed');
    }
  }

  async #secure(
    { endpoint, under, dial, protocols }: Handshake,
    signal: AbortSignal,
  ): Promise<Socket> {
    const { kubeCaFile, serviceCaFile } = this.#options;
    const { host, destination } = endpoint;
    const kube = { ca: this.#kubeCa, path: kubeCaFile };
    // The ConfigMap behind it may be made later.
    const isThere = serviceCaFile !== undefined && existsSync(serviceCaFile);
    const service = { ca: this.#serviceCa, path: isThere ? serviceCaFile : undefined };
    const giveUp = new AbortController();
    using _ = abortWith(signal, giveUp);
    const timer = dial.clock.setTimer(dial.timeoutMs, () => giveUp.abort(handshakeTimeout(host)));
    try {
      const files = destination.isKubeApiserver ? [kube] : [kube, service];
      const trust = trustOf(await readServerCas(files), 'ca-only');
      const serverName = destination.host;
      const offer = protocols === undefined ? {} : { protocols };
      const peer = { serverName, what: host, isProxy: false, isPinned: false, ...offer };
      const attempt = { opened: [], progress: { step: '' }, signal: giveUp.signal };
      return await connectTls(under, peer, trust, attempt);
    } finally {
      timer.cancel();
    }
  }
}

interface Handshake {
  readonly endpoint: Endpoint;
  readonly under: Socket;
  readonly dial: DialOptions;
  readonly protocols: readonly string[] | undefined;
}

async function connectTcp(
  destination: Destination,
  dial: DialOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const { port } = destination;
  // `dialTarget` aborts its controller itself, so this cannot be the caller's.
  const dialing = new AbortController();
  using _ = abortWith(signal, dialing);
  const connectTo = (host: string): Socket =>
    connect({ host, port, noDelay: true, allowHalfOpen: true });
  return (await dialTarget(destination, dial, connectTo, dialing)).socket;
}

/** Aborts `controller` with `cancelled` when the signal aborts, until the result is disposed. */
function abortWith(signal: AbortSignal, controller: AbortController): Disposable {
  const onAbort = (): void => controller.abort(cancelled());
  signal.addEventListener('abort', onAbort, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort) };
}

function cancelled(): TunnelError {
  return new TunnelError('cancelled', 'the stream ended during the dial');
}

function kubeName(cluster: string): { host: string; port: number } {
  return { host: cluster, port: kubeApiserverPort };
}

type ServiceName = Pick<Extract<HttpServer, { kind: 'service' }>, 'name' | 'namespace'>;

const dnsLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** @throws TunnelError `forbidden_target` no Service has such a name */
function serviceHost(service: ServiceName): string {
  const { name, namespace } = service;
  if (dnsLabel.test(name) && dnsLabel.test(namespace)) return `${name}.${namespace}.svc`;
  throw new TunnelError('forbidden_target', `no Service has the name ${namespace}/${name}`);
}

function handshakeTimeout(host: string): TunnelError {
  return new TunnelError('timeout', `the TLS handshake with ${host} took too long`);
}
