import { systemClock } from '../../base/clock.ts';
import { addressGroup } from '../../base/net/address-group.ts';
import { describeError } from '../../base/error.ts';
import { isClusterAlias } from '../../base/names/cluster-name.ts';
import { TokenVerifier } from '../../base/tokens/enrolment-token.ts';
import type { Logger } from '../../base/log/logger.ts';
import { requestTargetProblem } from '../../base/server/request-target.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { AcceptRate } from '../accept-rate.ts';
import { createApp, type RequestRuntime } from '../app.ts';
import { openAuthenticator, type Authenticator, type Peer } from '../authenticator.ts';
import { Relay } from '../relay.ts';
import { MemoryDirectory } from '../memory-directory.ts';
import { TokenAuthenticator } from '../token-authenticator.ts';
import { type Admitted, culvertProtocol, forObject } from './admitted.ts';
import { createConsoleLogger } from './console-logger.ts';
import type { EdgeEnv } from './env.ts';
import { readEdgeOptions } from './edge-options.ts';

/** Known to the broker's app, but about one process, which the edge has not. */
const elsewhere = new Set(['/v1/status', '/v1/clusters', '/metrics']);

const clusterStatusPath = /^\/v1\/clusters\/([a-z0-9-]{1,63})\/status$/;

/** Carries nothing: the Worker only learns from the app who was let in, and the link is made in the object. */
const noLink = {} as AttachableLink;

/** The relay that the app admits to in a Worker: it notes who was let in, and where to. */
class EdgeRelay extends Relay {
  #admitted: Admitted | undefined;

  /** Who `admit`, which the app gave, lets in. */
  take(admit: (link: AttachableLink) => void): Admitted {
    admit(noLink);
    return this.#admitted!;
  }

  override admitAgent(
    _: AttachableLink,
    cluster: string,
    agent: string,
    tunnel: number,
    instance?: string,
  ): void {
    this.#admitted = { role: 'agent', cluster, agent, instance, tunnel };
  }

  override admitDialer(_: AttachableLink, cluster: string, dialer: string): void {
    this.#admitted = { role: 'dialer', cluster, dialer };
  }
}

/**
 * What every request meets first: routes, credentials and rates, all decided by the broker's own app, before the Durable Object of
 * a cluster is woken.
 */
export class EdgeRouter {
  readonly #env: EdgeEnv;
  readonly #log: Logger;
  readonly #relay: EdgeRelay;
  readonly #app: ReturnType<typeof createApp>;

  private constructor(
    env: EdgeEnv,
    log: Logger,
    parts: { readonly authenticator: Authenticator; readonly acceptRate: AcceptRate },
  ) {
    this.#env = env;
    this.#log = log;
    this.#relay = new EdgeRelay({
      replica: 'edge',
      address: '',
      directory: new MemoryDirectory(),
      clock: systemClock,
      log,
    });
    this.#app = createApp({ ...parts, relay: this.#relay, log });
  }

  /** @throws EdgeOptionsError or TokenError: the Worker's variables are not what they should be */
  static async create(env: EdgeEnv): Promise<EdgeRouter> {
    const { tokenPublicKeys, acceptRate, logLevel } = readEdgeOptions(env);
    const log = createConsoleLogger(logLevel);
    const authenticator =
      tokenPublicKeys.length === 0
        ? openAuthenticator
        : new TokenAuthenticator(await TokenVerifier.fromPem(tokenPublicKeys));
    return new EdgeRouter(env, log, {
      authenticator,
      acceptRate: new AcceptRate(acceptRate, systemClock),
    });
  }

  async fetch(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    // The runtime has resolved backslashes and dot segments before; what it leaves is refused here.
    const problem = requestTargetProblem(pathname + search);
    if (problem !== undefined) {
      return Response.json({ code: 'protocol_error', message: problem }, { status: 400 });
    }
    if (elsewhere.has(pathname)) {
      const message =
        'on the edge every cluster is apart, ask for /v1/clusters/NAME/status; numbers are in the analytics of the account';
      return Response.json({ code: 'not_here', message }, { status: 501 });
    }
    const cluster = clusterStatusPath.exec(pathname)?.[1];
    if (cluster !== undefined) return this.#status(request, cluster);

    let admitted: Admitted | undefined;
    const upgrade: RequestRuntime['upgrade'] = (admit) => {
      admitted = this.#relay.take(admit);
      return new Response(null, { status: 204 });
    };
    const asksUpgrade = request.headers.get('Upgrade')?.toLowerCase() === 'websocket';
    const response = await this.#app.fetch(request, {
      peer: peerOf(request),
      ...(asksUpgrade ? { upgrade } : {}),
    });
    return admitted === undefined ? response : this.#connect(request, admitted);
  }

  async #connect(request: Request, admitted: Admitted): Promise<Response> {
    const offered = request.headers.get('Sec-WebSocket-Protocol') ?? '';
    if (!offered.split(',').some((word) => word.trim() === culvertProtocol)) {
      const message = `the WebSocket sub-protocol must be ${culvertProtocol}`;
      return Response.json({ code: 'protocol_error', message }, { status: 400 });
    }
    try {
      const cluster =
        admitted.role === 'dialer' ? await this.#resolve(admitted.cluster) : admitted.cluster;
      const headers = forObject(request.headers, { ...admitted, cluster });
      return await this.#env.CLUSTER.getByName(cluster).fetch(request.url, { headers });
    } catch (thrown) {
      return this.#unreachable(admitted.cluster, thrown);
    }
  }

  async #status(request: Request, cluster: string): Promise<Response> {
    // The status of the whole broker is for the same callers.
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

  /**
   * The cluster behind a name. An alias leads to an object of its own, where the cluster's object has left its name.
   */
  async #resolve(name: string): Promise<string> {
    if (!isClusterAlias(name)) return name;
    return (await this.#env.CLUSTER.getByName(name).aliasOf()) ?? name;
  }

  /** The object is overloaded, or was just replaced by a new version of itself. */
  #unreachable(cluster: string, thrown: unknown): Response {
    this.#log.error('cluster object failed', { cluster, error: describeError(thrown) });
    const retryAfterS = 1 + Math.floor(Math.random() * 5);
    return Response.json(
      { code: 'overloaded', message: 'the object of the cluster cannot be reached' },
      { status: 503, headers: { 'Retry-After': `${retryAfterS}` } },
    );
  }
}

/** The network in front of the Worker says where a request comes from, and no client can. */
function peerOf({ headers }: Request): Peer {
  const address = headers.get('CF-Connecting-IP');
  return { certificates: [], ...(address === null ? {} : { address: addressGroup(address) }) };
}
