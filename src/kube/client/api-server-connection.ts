import { type Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { type AgentOptions, request as requestHttps } from 'node:https';
import { describeError } from '../../base/error.ts';
import { RouteError } from '../../base/net/route-error.ts';
import { formatHostPort } from '../../base/net/host-port.ts';
import {
  type ProxyEnvironment,
  ProxyEnvironmentError,
  proxyFor,
} from '../../base/net/proxy-environment.ts';
import { proxyFingerprint } from '../../base/net/proxy.ts';
import { trustServersOf } from '../../base/tls/tls-trust.ts';
import { unlessAborted } from './call-deadline.ts';
import { DialingHttpAgent, DialingHttpsAgent, type ProxyAccess } from './dialing-agents.ts';
import type { KubeConfig, KubeEndpoint } from './kube-endpoint.ts';
import { KubeError } from './kube-error.ts';

export interface ApiServerConnectionOptions {
  readonly config: KubeConfig;
  /** The environment's proxies, for a server whose kubeconfig names none (default: none). */
  readonly proxies?: ProxyEnvironment | undefined;
  /**
   * Reads the CA of an https:// proxy, as PEM. It is trusted for the proxy alone, besides the
   * kubeconfig's CA and the well-known CAs. Called whenever such a proxy is used. Rejects with an
   * Error that names the file that cannot be read.
   */
  readonly proxyCa?: (() => Promise<string>) | undefined;
  /** `culvert-addon/1.2.3`, for the server's audit log. */
  readonly userAgent: string;
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Begins with `/api` and includes the query. */
  readonly path: string;
  readonly contentType?: string | undefined;
  readonly body?: string | undefined;
  /** `get Secret hub/agent-server`, for error messages. */
  readonly what: string;
}

interface KnownAgent {
  readonly print: string;
  readonly agent: HttpAgent;
}

/**
 * HTTP/1.1 to one API server over kept connections. A change of CA, client certificate or proxy
 * makes new connections. A renewed token goes into the next request. ARCHITECTURE.md says why this
 * is not a client library.
 */
export class ApiServerConnection {
  readonly #options: ApiServerConnectionOptions;
  #known: KnownAgent | undefined;

  constructor(options: ApiServerConnectionOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the head of the answer. The caller reads or destroys the body. After a 401, the
   * files are read again and the request is sent once more if they have changed.
   *
   * @throws KubeError `unavailable`, `bad_config`; or the signal's reason
   */
  async send(request: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const endpoint = await this.#endpoint(signal);
    const answer = await this.#sendTo(endpoint, request, signal);
    if (answer.statusCode !== 401) return answer;
    this.#options.config.expire();
    try {
      const renewed = await this.#endpoint(signal);
      if (renewed === endpoint) return answer;
      answer.destroy();
      return await this.#sendTo(renewed, request, signal);
    } catch (thrown) {
      answer.destroy();
      throw thrown;
    }
  }

  close(): void {
    this.#retire();
  }

  /** An exec plugin or a file system may take longer than the call may. */
  #endpoint(signal: AbortSignal): Promise<KubeEndpoint> {
    return unlessAborted(this.#options.config.endpoint(), signal);
  }

  async #sendTo(endpoint: KubeEndpoint, request: ApiRequest, signal: AbortSignal) {
    for (let isRetry = false; ; isRetry = true) {
      try {
        const access = await unlessAborted(this.#proxyOf(endpoint, request), signal);
        const agent = this.#agentFor(endpoint, access);
        return await exchange(agent, endpoint, this.#options, request, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        if (thrown instanceof KubeError) throw thrown;
        if (thrown instanceof ProxyEnvironmentError) {
          const message = `cannot ${request.what}: ${thrown.message}`;
          throw new KubeError('bad_config', message, { cause: thrown });
        }
        // The server closed an idle connection just as we used it. Nothing has happened, unless it
        // was a POST.
        const isStale = thrown instanceof ExchangeError && thrown.wasReused;
        if (!isRetry && isStale && request.method !== 'POST') continue;
        throw unreachable(endpoint, request, thrown);
      }
    }
  }

  async #proxyOf(
    { server, ca, proxy }: KubeEndpoint,
    { what }: ApiRequest,
  ): Promise<ProxyAccess | undefined> {
    const { proxies = {}, proxyCa, userAgent } = this.#options;
    const used = proxy ?? proxyFor(server, proxies);
    if (used === undefined) return undefined;
    if (used.scheme !== 'https' || proxyCa === undefined)
      return { proxy: used, cas: [ca], userAgent };
    try {
      return { proxy: used, cas: [ca, await proxyCa()], userAgent };
    } catch (cause) {
      const message = `cannot ${what}: no CA for the proxy ${formatHostPort(used)} (${describeError(cause)}); put the file there`;
      throw new KubeError('bad_config', message, { cause });
    }
  }

  #agentFor(endpoint: KubeEndpoint, access: ProxyAccess | undefined): HttpAgent {
    const { server, ca, serverName, verify, certificate } = endpoint;
    const key = certificate?.key.reveal();
    const cert = certificate?.cert;
    const proxy = proxyFingerprint(access?.proxy).reveal();
    const print = JSON.stringify([server, ca, serverName, verify, cert, key, proxy, access?.cas]);
    if (this.#known?.print === print) return this.#known.agent;
    this.#retire();
    // The server closes connections that were idle for 90 s.
    const common: AgentOptions = { keepAlive: true, keepAliveMsecs: 30_000, timeout: 60_000 };
    const options: AgentOptions = { ...common, rejectUnauthorized: verify };
    if (ca !== undefined) Object.assign(options, trustServersOf([ca], 'nothing'));
    if (serverName !== undefined) options.servername = serverName;
    if (cert !== undefined) Object.assign(options, { cert, key });
    const agent =
      server.protocol === 'http:'
        ? new DialingHttpAgent(common, access)
        : new DialingHttpsAgent(options, access);
    this.#known = { print, agent };
    return agent;
  }

  /** Closes idle connections. Others end with their request, a watch within ten minutes. */
  #retire(): void {
    const idle = Object.values(this.#known?.agent.freeSockets ?? {}).flat();
    for (const socket of idle) socket?.destroy();
    this.#known = undefined;
  }
}

class ExchangeError extends Error {
  readonly wasReused: boolean;

  constructor(wasReused: boolean, cause: Error) {
    super(cause.message, { cause });
    this.wasReused = wasReused;
  }
}

function exchange(
  agent: HttpAgent,
  { server, token }: KubeEndpoint,
  { userAgent }: ApiServerConnectionOptions,
  { method, path, contentType, body }: ApiRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const url = new URL(server.pathname.replace(/\/$/, '') + path, server);
  const headers: Record<string, string> = { Accept: 'application/json', 'User-Agent': userAgent };
  if (token !== undefined) headers['Authorization'] = `Bearer ${token.reveal()}`;
  if (body !== undefined) {
    headers['Content-Type'] = contentType ?? 'application/json';
    headers['Content-Length'] = String(Buffer.byteLength(body));
  }
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const make = url.protocol === 'http:' ? requestHttp : requestHttps;
    const request = make(url, { method, headers, agent });
    // A request without a socket reports its end only when the agent has a connection.
    const onAbort = () => {
      request.destroy();
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const settle = () => signal.removeEventListener('abort', onAbort);
    request.on('error', (error) => {
      settle();
      reject(new ExchangeError(request.reusedSocket, error));
    });
    request.on('response', (answer) => {
      settle();
      resolve(answer);
    });
    request.end(body);
  });
}

function unreachable({ server }: KubeEndpoint, { what }: ApiRequest, thrown: unknown): KubeError {
  const { host } = server;
  if (thrown instanceof Error && thrown.cause instanceof RouteError) {
    const message = `cannot ${what}: no connection to the API server ${host} through a proxy: ${thrown.cause.message}`;
    return new KubeError('unavailable', message, { cause: thrown });
  }
  const problem = describeError(thrown);
  const advice = /certificate|CERT|self.signed/.test(problem)
    ? "check the CA and the server's name in the kubeconfig"
    : 'culvert tries again; check the address, and proxies and firewalls on the way';
  const message = `cannot ${what}: no answer from the API server ${host} (${problem}); ${advice}`;
  return new KubeError('unavailable', message, { cause: thrown });
}
