import { Hono, type Context } from 'hono';
import { formatTime, timeHeader } from '../base/time-header.ts';
import type { Clock } from '../base/clock.ts';
import { isClusterName, isDnsLabel } from '../base/names/cluster-name.ts';
import type { LogFields } from '../base/log/log-field.ts';
import type { Link } from '../tunnel/link.ts';
import type { Logger } from '../base/log/logger.ts';
import type { AcceptRate } from './accept-rate.ts';
import { Admission, type AdmissionLimits, isRefusal, type Refusal } from './admission.ts';
import type { AdmittedClient } from './admitted-client.ts';
import { AgentClocks } from './agent-clocks.ts';
import {
  type Authenticator,
  type Identity,
  type Peer,
  unknownPeer,
  proofHeader,
} from './authenticator.ts';
import type { ClusterAdmission } from './cluster-admission.ts';
import { DialerAccess } from './dialer-access.ts';
import type { RelayAccess } from './relay-access.ts';

/** What the runtime adds to a request. */
export interface RequestRuntime {
  /**
   * Accepts the upgrade to a culvert link, with `headers` in the answer. The runtime makes the link
   * and admits `client` with it. Undefined: the request asks for no upgrade.
   */
  readonly acceptLink?: (
    client: AdmittedClient,
    headers?: Readonly<Record<string, string>>,
  ) => Response;
  /** The address of the request, and what its connection proves; undefined: nothing is known. */
  readonly peer?: Peer;
  /** The request is made within the broker's process, for a client of another listener there. */
  readonly isLocal?: boolean;
}

export interface AppOptions {
  readonly relay: RelayAccess;
  readonly authenticator: Authenticator;
  readonly acceptRate: AcceptRate;
  /** Knows which registered agents the hub cluster accepts; undefined: credentials alone decide. */
  readonly clusterAdmission?: Pick<ClusterAdmission, 'refusal'> | undefined;
  /** Decides into which clusters dialers open sessions (default: by the scope of their token). */
  readonly dialerAccess?: Pick<DialerAccess, 'refusal' | 'watch'> | undefined;
  /** Default: `defaultAdmissionLimits`. */
  readonly limits?: AdmissionLimits | undefined;
  /** The text of /metrics; undefined: another port serves it, and the answer here is 404. */
  readonly metrics?: (() => Promise<MetricsText>) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Tells the time of day, and how far agents' clocks are from it (default: its own). */
  readonly agentClocks?: AgentClocks | undefined;
}

interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/** Counts requests that were refused, by HTTP status. */
export class RejectionCounts {
  readonly byStatus = new Map<number, number>();

  add(status: number): void {
    this.byStatus.set(status, (this.byStatus.get(status) ?? 0) + 1);
  }
}

type Env = { Bindings: RequestRuntime };
type Rejection =
  | Refusal
  | {
      readonly status: 400 | 403 | 426 | 503;
      readonly code: string;
      readonly message: string;
    };

const agentId = /^[\w.:-]{1,253}$/;
/** Random, from the agent's process; absent in agents of culvert 0.1. */
const agentInstance = /^[\w-]{1,64}$/;

/**
 * The HTTP routes of the broker, on any runtime. Admission is decided here, before an upgrade is
 * answered.
 */
export function createApp(options: AppOptions, rejections = new RejectionCounts()): Hono<Env> {
  const { relay, clusterAdmission, metrics, log, agentClocks = new AgentClocks(log) } = options;
  const { dialerAccess = new DialerAccess({ clock: options.clock }) } = options;
  const admission = new Admission(options);
  const app = new Hono<Env>();

  const peerOf = (c: Context<Env>): Peer => c.env.peer ?? unknownPeer;

  const reject = (c: Context<Env>, rejection: Rejection, fields: LogFields = {}) => {
    const { status, code, message } = rejection;
    rejections.add(status);
    log.warn('connection refused', { path: c.req.path, status, code, error: message, ...fields });
    if (status === 401) c.header('WWW-Authenticate', 'Bearer');
    c.header(timeHeader, formatTime(agentClocks.now()));
    if (status === 401 || status === 403) admission.refused(c.req.raw.headers, peerOf(c));
    if ('retryAfterS' in rejection) c.header('Retry-After', String(rejection.retryAfterS));
    return c.json({ code, message }, status);
  };

  /** The identity behind a request; a Response is the refusal. */
  const identify = async (c: Context<Env>): Promise<Identity | Response> => {
    const answer = await admission.identify(c.req.raw.headers, peerOf(c));
    return isRefusal(answer) ? reject(c, answer) : answer;
  };

  /**
   * The checks that all clients have in common; a Response is the refusal. A broker that drains
   * takes the sessions that other replicas forward, because the agents here may have no other
   * tunnel yet, and sessions of its own process, whose listeners drain first.
   */
  const identifyNewClient = async (c: Context<Env>): Promise<Identity | Response> => {
    const closed = admission.closed();
    if (closed === undefined || c.env.isLocal === true) return await identify(c);
    if (c.req.header(proofHeader) === undefined) return reject(c, closed);
    const identity = await identify(c);
    if (identity instanceof Response || identity.kind === 'replica') return identity;
    return reject(c, closed);
  };

  const needsUpgrade: Rejection = {
    status: 426,
    code: 'protocol_error',
    message: 'this address wants a WebSocket upgrade',
  };

  app.get('/v1/agent', async (c) => {
    const { acceptLink } = c.env;
    if (acceptLink === undefined) return reject(c, needsUpgrade);
    const identity = await identifyNewClient(c);
    if (identity instanceof Response) return identity;
    const cluster = c.req.header('Culvert-Cluster') ?? '';
    const agent = c.req.header('Culvert-Agent') ?? '';
    if (!isClusterName(cluster) || !agentId.test(agent)) {
      const message =
        'Culvert-Cluster must be the name of a cluster (a DNS label that is no alias) and Culvert-Agent a short name';
      return reject(c, { status: 400, code: 'protocol_error', message });
    }
    const speaksFor = identity.kind === 'agent' ? identity.cluster : undefined;
    const isDialer = identity.kind === 'dialer' || identity.kind === 'replica';
    if (isDialer || (speaksFor !== undefined && speaksFor !== cluster)) {
      const whose = speaksFor === undefined ? 'no cluster' : `cluster ${speaksFor} only`;
      const message = `the credential speaks for ${whose}, not for ${cluster}`;
      return reject(c, { status: 403, code: 'forbidden', message }, { cluster, agent });
    }
    const refusal = clusterAdmission?.refusal(identity);
    if (refusal !== undefined) {
      const rejection = { status: 403, code: 'forbidden', message: refusal } as const;
      return reject(c, rejection, { cluster, agent });
    }
    const tunnel = c.req.header('Culvert-Tunnel') === '1' ? 1 : 0;
    const instance = c.req.header('Culvert-Instance');
    if (instance !== undefined && !agentInstance.test(instance)) {
      const message = 'Culvert-Instance must be 1 to 64 letters, digits, "-" or "_"';
      return reject(c, { status: 400, code: 'protocol_error', message });
    }
    if (relay.holdsAnother({ cluster, agent, instance, tunnel })) {
      const message = `agent ${agent} has a tunnel to this replica already, a second belongs on another`;
      return c.json({ code: 'already_here', message }, 409);
    }
    const tooMany = admission.agentRefusal(cluster) ?? admission.rateRefusal();
    if (tooMany !== undefined) return reject(c, tooMany, { cluster, agent });
    agentClocks.observe(cluster, agent, c.req.header(timeHeader));
    const isRegistered = identity.kind === 'agent' && identity.registered === true;
    return acceptLink(
      {
        kind: 'agent',
        cluster,
        agent,
        instance,
        tunnel,
        ...(isRegistered ? { registered: true } : {}),
      },
      { [timeHeader]: formatTime(agentClocks.now()) },
    );
  });

  app.get('/v1/clusters/:name/session', async (c) => {
    const { acceptLink } = c.env;
    if (acceptLink === undefined) return reject(c, needsUpgrade);
    const identity = await identifyNewClient(c);
    if (identity instanceof Response) return identity;
    const cluster = c.req.param('name');
    if (!isDnsLabel(cluster)) {
      const message = 'the name of a cluster is a DNS label';
      return reject(c, { status: 400, code: 'protocol_error', message });
    }
    if (identity.kind === 'agent') {
      const message = `an agent's credential (of ${identity.cluster}) opens no session`;
      return reject(c, { status: 403, code: 'forbidden', message }, { cluster });
    }
    if (identity.kind === 'replica' && (identity.cluster ?? cluster) !== cluster) {
      const message = `the proof of the replica is for cluster ${identity.cluster}, not for ${cluster}`;
      return reject(c, { status: 403, code: 'forbidden', message }, { cluster });
    }
    if (identity.kind === 'dialer') {
      const refusal = await dialerAccess.refusal(identity, cluster);
      if (refusal !== undefined) return reject(c, refusal, { cluster, dialer: identity.name });
    }
    const dialer = identity.kind === 'anyone' ? 'anyone' : identity.name;
    const forwarded = identity.kind === 'replica';
    // The replica that forwards a session has counted it.
    const tooMany = forwarded
      ? undefined
      : ((identity.kind === 'dialer' ? admission.dialerRefusal(cluster, dialer) : undefined) ??
        admission.rateRefusal());
    if (tooMany !== undefined) return reject(c, tooMany, { cluster, dialer });
    const answer = identity.kind === 'replica' ? { [proofHeader]: identity.answer } : {};
    const watch =
      identity.kind === 'dialer'
        ? (link: Link) => dialerAccess.watch(identity, cluster, link)
        : undefined;
    const isGateway = identity.kind !== 'anyone' && identity.isGateway === true;
    const credential = identity.kind === 'dialer' ? identity : undefined;
    const admitted = { kind: 'dialer', cluster, dialer, forwarded, isGateway, watch } as const;
    return acceptLink({ ...admitted, credential }, answer);
  });

  /** Refuses clients that may not dial, because they may not know the names of clusters either. */
  const refuseUnlessDialer = async (c: Context<Env>): Promise<Response | undefined> => {
    const identity = await identify(c);
    if (identity instanceof Response) return identity;
    if (identity.kind === 'agent' || identity.kind === 'replica') {
      const message = `not for ${identity.kind}s`;
      return reject(c, { status: 403, code: 'forbidden', message });
    }
    const isScoped =
      identity.kind === 'dialer' && (identity.clusters ?? identity.selector) !== undefined;
    if (isScoped) {
      const message = 'not for a token that is limited to clusters';
      return reject(c, { status: 403, code: 'forbidden', message });
    }
    const tooOften = admission.statusRefusal(identity);
    return tooOften === undefined ? undefined : reject(c, tooOften);
  };

  app.get('/v1/status', async (c) => (await refuseUnlessDialer(c)) ?? c.json(relay.status()));
  app.get('/v1/clusters', async (c) => {
    const refusal = await refuseUnlessDialer(c);
    return refusal ?? c.json({ clusters: relay.status().clusters });
  });
  app.get('/healthz', (c) => c.text('ok'));
  // Strangers must not learn what is degraded, or where the directory is. The status port tells it.
  app.get('/readyz', (c) => {
    const { unready } = relay;
    return unready === undefined ? c.text('ok') : c.text(unready, 503);
  });
  if (metrics !== undefined) {
    app.get('/metrics', async (c) => {
      const { contentType, text } = await metrics();
      return c.body(text, 200, { 'Content-Type': contentType });
    });
  }
  app.notFound((c) => c.json({ code: 'not_found', message: `no route ${c.req.path}` }, 404));
  app.onError((error, c) => {
    log.error('request failed', { path: c.req.path, error: error.message });
    return c.json({ code: 'internal', message: 'the broker failed, see its log' }, 500);
  });
  return app;
}
