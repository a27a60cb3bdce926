import { request as requestHttp, type ClientRequest, type RequestOptions } from 'node:http';
import { Agent, request as requestHttps, type AgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { trustServersOf } from '../base/tls-trust.ts';
import { formatHostPort } from '../base/options-values.ts';
import { DialingHttpAgent, DialingHttpsAgent } from './dialing-agents.ts';

const connectTimeoutMs = 15_000;

export interface Proxy {
  /** http:// or https://, with its user and password. */
  readonly url: URL;
  /** PEM; trusted for an https:// proxy besides the well-known CAs. */
  readonly cas: readonly string[];
}

/** An https:// proxy has shown a certificate that is not trusted, or not its own. */
export class ProxyTrustError extends Error {
  override readonly name = 'ProxyTrustError';
}

type Done = (error: Error | null, socket: Duplex) => void;

/** An https agent whose connections go through a proxy that is asked to CONNECT. */
export class ProxyTunnelAgent extends Agent {
  readonly #proxy: Proxy;

  constructor(proxy: Proxy, options: AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(options: RequestOptions, done: Done = () => {}): undefined {
    const authority = formatHostPort({ host: options.host!, port: Number(options.port) });
    const failed = (why: string, cause?: Error) => {
      const message = `the proxy ${this.#proxy.url.host} did not connect to ${authority}: ${why}`;
      const isTrust = /CERT|SIGNATURE|SIGNED/.test((cause as NodeJS.ErrnoException)?.code ?? '');
      const error = isTrust ? ProxyTrustError : Error;
      // Node hands the socket to a request only where there is no error.
      done(new error(message, { cause }), undefined as unknown as Duplex);
    };
    const asked = askToConnect(this.#proxy, authority);
    asked.setTimeout(connectTimeoutMs, () => asked.destroy(new Error('no answer within 15 s')));
    asked.on('error', (error) => failed(error.message, error));
    asked.on('response', (answer) => {
      answer.destroy();
      failed(`answered ${answer.statusCode}`);
    });
    asked.on('connect', (answer, socket) => {
      socket.setTimeout(0);
      if (answer.statusCode === 200) {
        done(null, super.createConnection({ ...options, socket } as RequestOptions)!);
        return;
      }
      socket.destroy();
      const wanted =
        answer.statusCode === 407 ? "; put user and password into the proxy's URL" : '';
      failed(`it answered ${answer.statusCode}${wanted}`);
    });
    asked.end();
    return undefined;
  }
}

function askToConnect({ url, cas }: Proxy, authority: string): ClientRequest {
  const isTls = url.protocol === 'https:';
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
  const options = {
    method: 'CONNECT',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
    path: authority,
    headers: {
      Host: authority,
      ...(url.username === '' ? {} : { 'Proxy-Authorization': basic }),
    },
  };
  if (!isTls) return requestHttp({ ...options, agent: new DialingHttpAgent() });
  const [first, ...others] = cas;
  const trusted = first === undefined ? {} : trustServersOf([first, ...others], 'well-known');
  return requestHttps({ ...options, agent: new DialingHttpsAgent(), ...trusted });
}
