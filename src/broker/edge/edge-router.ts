import { systemClock } from '../../base/clock.ts';
import { addressGroup } from '../../base/net/address-group.ts';
import { describeError } from '../../base/error.ts';
import { isClusterAlias } from '../../base/names/cluster-name.ts';
import { TokenVerifier } from '../../base/tokens/enrolment-token.ts';
import type { Logger } from '../../base/log/logger.ts';
import { requestTargetProblem } from '../../base/server/request-target.ts';
import { statusResponse } from '../../gateway/edge/status-response.ts';
import { targetOf } from '../../gateway/edge/worker-request.ts';
import { GatewayError } from '../../gateway/gateway-error.ts';
import { readRequestUrl } from '../../gateway/request-url.ts';
import { AcceptRate } from '../accept-rate.ts';
import { defaultAdmissionLimits } from '../admission.ts';
import type { AdmittedClient, AdmittedDialer } from '../admitted-client.ts';
import { createApp, type RequestRuntime } from '../app.ts';
import { openAuthenticator, type Authenticator, type Peer } from '../authenticator.ts';
import { DialerAccess } from '../dialer-access.ts';
import { KeyedRates } from '../keyed-rates.ts';
import type { RelayAccess } from '../relay-access.ts';
import { TokenAuthenticator } from '../token-authenticator.ts';
import { culvertProtocol, forGateway, forObject, type HttpClient } from './admitted.ts';
import { createConsoleLogger } from './console-logger.ts';
import { credentialFor } from './edge-access.ts';
import type { EdgeEnv } from './env.ts';
import { readEdgeOptions } from './edge-options.ts';
import type { EdgeGatewayOptions } from './gateway-options.ts';

/** Routes of the broker's app that describe one process, which does not exist on the edge. */
const processPaths = new Set(['/v1/status', '/v1/clusters', '/metrics']);

const clusterStatusPath = /^\/v1\/clusters\/([a-z0-9-]{1,63})\/status$/;

/** A Worker holds no tunnels. The object of a cluster checks its own limits. */
const workerRelay: RelayAccess = {
  draining: false,
  unready: undefined,
  tunnelCount: () => 0,
  sessionCount: () => 0,
  holdsAnother: () => false,
  status: () => ({ replica: 'edge', draining: false, dialers: 0, relayedBytes: 0, clusters: [] }),
};

/**
 * Handles every request first: the broker's own app checks routes, credentials and rates before the
 * Durable Object of a cluster is woken.
 */
export class EdgeRouter {
  readonly #env: EdgeEnv;
  readonly #log: Logger;
  readonly #gateway: EdgeGatewayOptions | undefined;
  readonly #refusals = new KeyedRates(defaultAdmissionLimits.refusals, systemClock);
  readonly #app: ReturnType<typeof createApp>;

  private constructor(
    env: EdgeEnv,
    log: Logger,
    {
      gateway,
      ...parts
    }: {
      readonly authenticator: Authenticator;
      readonly acceptRate: AcceptRate;
      readonly gateway: EdgeGatewayOptions | undefined;
    },
  ) {
    this.#gateway = gateway;
    this.#env = env;
    this.#log = log;
    const scopes = new DialerAccess({ clock: systemClock });
    this.#app = createApp({
      ...parts,
      dialerAccess: {
        // The object of the cluster knows labels and rules, and watches the session.
        refusal: async (dialer, cluster) =>
          dialer.selector === undefined
            ? await scopes.refusal(dialer, await this.#resolve(cluster))
            : undefined,
        watch: () => () => {},
      },
      relay: workerRelay,
      clock: systemClock,
      log,
    });
  }

  /** @throws EdgeOptionsError or TokenError: the Worker's variables are wrong */
  static async create(env: EdgeEnv): Promise<EdgeRouter> {
    const { tokenPublicKeys, acceptRate, logLevel, gateway } = readEdgeOptions(env);
    const log = createConsoleLogger(logLevel);
    const authenticator =
      tokenPublicKeys.length === 0
        ? openAuthenticator
        : new TokenAuthenticator(await TokenVerifier.fromPem(tokenPublicKeys));
    return new EdgeRouter(env, log, {
      authenticator,
      acceptRate: new AcceptRate(acceptRate, systemClock),
      gateway,
    });
  }

  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const { pathname, search, host } = url;
    if (this.#gateway !== undefined && isForGateway(pathname, host, this.#gateway)) {
      return await this.#forward(request, url, this.#gateway);
    }
    // The runtime has resolved backslashes and dot segments already. Other ambiguous targets are
    // refused here.
    const problem = requestTargetProblem(pathname + search);
    if (problem !== undefined) {
      return Response.json({ code: 'protocol_error', message: problem }, { status: 400 });
    }
    if (processPaths.has(pathname)) {
      const message =
        'on the edge there is no status of all clusters, ask for /v1/clusters/NAME/status; numbers are in the analytics of the account';
      return Response.json({ code: 'not_here', message }, { status: 501 });
    }
    const cluster = clusterStatusPath.exec(pathname)?.[1];
    if (cluster !== undefined) return this.#status(request, cluster);

    let admitted: AdmittedClient | undefined;
    const acceptLink: RequestRuntime['acceptLink'] = (client) => {
      admitted = client;
      return new Response(null, { status: 204 });
    };
    const asksUpgrade = request.headers.get('Upgrade')?.toLowerCase() === 'websocket';
    const response = await this.#app.fetch(request, {
      peer: peerOf(request),
      ...(asksUpgrade ? { acceptLink } : {}),
    });
    return admitted === undefined ? response : this.#connect(request, admitted);
  }

  async #connect(request: Request, admitted: AdmittedClient): Promise<Response> {
    const offered = request.headers.get('Sec-WebSocket-Protocol') ?? '';
    if (!offered.split(',').some((word) => word.trim() === culvertProtocol)) {
      const message = `the WebSocket sub-protocol must be ${culvertProtocol}`;
      return Response.json({ code: 'protocol_error', message }, { status: 400 });
    }
    try {
      const client = admitted.kind === 'dialer' ? await this.#resolved(admitted) : admitted;
      const { cluster } = client;
      const headers = forObject(request.headers, client);
      return await this.#env.CLUSTER.getByName(cluster).fetch(request.url, { headers });
    } catch (thrown) {
      return this.#unreachable(admitted.cluster, thrown);
    }
  }

  /**
   * Passes a request to the object of its cluster, which authenticates it: its caches and limits
   * must outlive the request, and some tokens are known to the cluster alone.
   */
  async #forward(
    request: Request,
    { protocol, host }: URL,
    { domain }: EdgeGatewayOptions,
  ): Promise<Response> {
    let named = '';
    try {
      named = readRequestUrl(targetOf(request.url), host, domain).cluster;
      const address = addressOf(request);
      if (address !== undefined && this.#refusals.isExhausted(address)) {
        throw new GatewayError(
          'TooManyRequests',
          'too many requests of your address were refused',
          {
            retryAfterSeconds: 5,
          },
        );
      }
      const cluster = await this.#resolve(named);
      const client: HttpClient = {
        kind: 'http',
        cluster,
        address: request.headers.get('CF-Connecting-IP') ?? 'unknown',
        scheme: protocol === 'http:' ? 'http' : 'https',
        host,
      };
      const inner = forGateway(request, client);
      const response = await this.#env.CLUSTER.getByName(cluster).fetch(inner);
      if (response.status === 401 && address !== undefined) this.#refusals.take(address);
      return response;
    } catch (thrown) {
      if (thrown instanceof GatewayError) return statusResponse(thrown, request.method);
      this.#log.error('cluster object failed', { cluster: named, error: describeError(thrown) });
      const error = new GatewayError(
        'BadGateway',
        `cluster "${named}": the object of the cluster cannot be reached`,
        { hop: 'broker', cause: thrown },
      );
      return statusResponse(error, request.method);
    }
  }

  async #status(request: Request, cluster: string): Promise<Response> {
    // The app admits the same callers to the status of a whole broker.
    const url = new URL('/v1/status', request.url);
    const asked = new Request(url, { headers: request.headers });
    const allowed = await this.#app.fetch(asked, { peer: peerOf(request) });
    if (!allowed.ok) return allowed;
    try {
      const name = await this.#resolve(cluster);
      return Response.json(await this.#env.CLUSTER.getByName(name).status());
    } catch (thrown) {
      return this.#unreachable(cluster, thrown);
    }
  }

  async #resolved(dialer: AdmittedDialer): Promise<AdmittedDialer> {
    const cluster = await this.#resolve(dialer.cluster);
    const { credential } = dialer;
    return { ...dialer, cluster, credential: credential && credentialFor(cluster, credential) };
  }

  /**
   * The cluster behind a name. An alias has an object of its own, to which the cluster's object has
   * told its name.
   */
  async #resolve(name: string): Promise<string> {
    if (!isClusterAlias(name)) return name;
    return (await this.#env.CLUSTER.getByName(name).aliasOf()) ?? name;
  }

  /** The object is overloaded, or a new version has just replaced it. */
  #unreachable(cluster: string, thrown: unknown): Response {
    this.#log.error('cluster object failed', { cluster, error: describeError(thrown) });
    const retryAfterS = 1 + Math.floor(Math.random() * 5);
    return Response.json(
      { code: 'overloaded', message: 'the object of the cluster cannot be reached' },
      { status: 503, headers: { 'Retry-After': `${retryAfterS}` } },
    );
  }
}

/**
 * The network in front of the Worker sets the address of a request, and no client can change it.
 */
function peerOf(request: Request): Peer {
  const address = addressOf(request);
  return { certificates: [], ...(address === undefined ? {} : { address }) };
}

/** The key for limits per address. */
function addressOf({ headers }: Request): string | undefined {
  const address = headers.get('CF-Connecting-IP');
  return address === null ? undefined : addressGroup(address);
}

const brokerPath =
  /^\/(?:$|healthz$|readyz$|metrics$|v1\/(?:agent|status|clusters)$|v1\/clusters\/)/;

/**
 * Whether a request is for a cluster. The broker's own routes come first in the path form, and do
 * not exist below the gateway's domain.
 */
export function isForGateway(
  pathname: string,
  host: string,
  { domain }: Pick<EdgeGatewayOptions, 'domain'>,
): boolean {
  const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (domain !== undefined && name.endsWith(`.${domain}`)) return true;
  return !brokerPath.test(pathname);
}
