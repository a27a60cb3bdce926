import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { exposeFiles } from '../../base/metrics/file-metrics.ts';
import { Metrics } from '../../base/metrics/metrics.ts';
import { exposeBroker, exposeClocks, exposeConnections } from './metrics.ts';
import {
  type HttpAcceptor,
  type HttpListener,
  type HttpListenerOptions,
  makeHttpAcceptor,
  openHttpListener,
} from '../../base/server/http-listener.ts';
import { startStatusServer } from '../../base/server/status-server.ts';
import { AcceptRate } from '../accept-rate.ts';
import { defaultAdmissionLimits } from '../admission.ts';
import { AgentClocks } from '../agent-clocks.ts';
import type { Authenticator } from '../authenticator.ts';
import { createApp, RejectionCounts } from '../app.ts';
import { Relay } from '../relay.ts';
import { type AccessControl, openAccessControl } from './access-control.ts';
import { brokerConnectionLimits } from './connection-limits.ts';
import type { BrokerOptions } from './options.ts';
import { peerOf } from './peer.ts';
import { LocalAgents } from './local-agents.ts';
import { makeLocalDialer, makeTokenDialer } from './local-dialers.ts';
import { joinReplicas, type Replicas } from './replicas.ts';
import { Broker, type RunningBroker } from './running-broker.ts';
import { serveApp } from './serve-app.ts';

export interface BrokerParts {
  readonly log: Logger;
  /**
   * The only cluster that the bridge in this process dials: without an agent of it the broker is
   * not ready.
   */
  readonly onlyCluster?: string | undefined;
  /**
   * Opens no port for agents and dialers. Their connections come from another listener of this
   * process, by `RunningBroker.accept` (default: false).
   */
  readonly hasNoPort?: boolean;
  /** Checks the credentials of agents and dialers (default: those of the options are accepted). */
  readonly authenticator?: Authenticator | undefined;
  /**
   * The metrics of this process, to which the broker adds its own (default: the broker's alone).
   */
  readonly metrics?: Metrics;
}

/** The parts that the steps of `startBroker` share. */
interface Core {
  readonly options: BrokerOptions;
  readonly relay: Relay;
  readonly access: AccessControl;
  readonly metrics: Metrics;
  readonly log: Logger;
}

type App = ReturnType<typeof createApp>;

/**
 * Starts a broker.
 *
 * @throws Error an address is taken, or a file cannot be read
 */
export async function startBroker(
  options: BrokerOptions,
  { onlyCluster, hasNoPort = false, metrics = new Metrics(), authenticator, ...deps }: BrokerParts,
): Promise<RunningBroker> {
  // Everything that is opened here closes in reverse order, also when a later step fails.
  await using parts = new AsyncDisposableStack();
  const log = deps.log.child({ replica: options.replicaId });
  const replicas = parts.use(await joinReplicas(options, log));
  const relay = makeRelay(options, replicas, { onlyCluster, log });
  const access = parts.use(
    await openAccessControl(options, { relay, replicas, authenticator, log }),
  );
  const core: Core = { options, relay, access, metrics, log };
  exposeFiles(metrics.group('culvert_broker'), [...access.files, ...replicas.files]);
  const app = makeApp(core);
  const listener = parts.use(
    hasNoPort ? makeBrokerAcceptor(core, app) : await openBrokerListener(core, app),
  );
  relay.expectAgents();
  if (options.statusListen !== undefined) {
    const source = {
      unready: () => relay.unready,
      degraded: () => replicas.directory.degraded,
      metrics: () => metrics.render(),
    };
    parts.use(await startStatusServer(options.statusListen, source, log));
  }
  const local = { options, relay, log };
  const ofSessions = metrics.group('culvert_session');
  const dialer = makeLocalDialer('bridge', { ...local, metrics: ofSessions });
  const ofGateway = metrics.group('culvert_gateway_session');
  const gatewayDialer = makeLocalDialer('gateway', { ...local, metrics: ofGateway });
  parts.defer(() => relay.close());
  parts.defer(() => dialer.close());
  parts.defer(() => gatewayDialer.close());
  const localAgents = new LocalAgents(relay, access);
  return new Broker(options, {
    relay,
    listener,
    ...{ dialer, gatewayDialer },
    isKnownCluster: (cluster) => access.hubCluster?.clusters.isAccepted(cluster),
    makeTokenDialer: (token) => makeTokenDialer(token, app, core),
    localAgents,
    access,
    parts: parts.move(),
  });
}

function makeRelay(
  { replicaId, replicaAddress }: BrokerOptions,
  { directory, forward }: Replicas,
  { onlyCluster, log }: { readonly onlyCluster: string | undefined; readonly log: Logger },
): Relay {
  return new Relay({
    replica: replicaId,
    address: replicaAddress?.href ?? '',
    directory,
    ...(forward === undefined ? {} : { forward }),
    onlyCluster,
    clock: systemClock,
    log,
  });
}

/** Opens the port of agents, remote dialers and other replicas. */
async function openBrokerListener(core: Core, app: App): Promise<HttpListener> {
  const { options, access, metrics } = core;
  const { listen: address } = options;
  const listener = await openHttpListener({ ...serviceOf(core, app), address, tls: access.tls });
  exposeConnections(metrics.group('culvert_broker'), listener.connections);
  return listener;
}

/** Serves agents, remote dialers and other replicas on connections of another listener. */
function makeBrokerAcceptor(core: Core, app: App): HttpAcceptor {
  const acceptor = makeHttpAcceptor(serviceOf(core, app));
  exposeConnections(core.metrics.group('culvert_broker'), acceptor.connections);
  return acceptor;
}

function serviceOf(core: Core, app: App): Omit<HttpListenerOptions, 'address' | 'tls'> {
  const { options, relay, access, log } = core;
  const { maxConnections, trustedProxies } = options;
  return {
    name: 'agents and dialers',
    limits: brokerConnectionLimits(maxConnections),
    trustedProxies,
    log,
    handler: serveApp({
      app,
      log,
      peerOf: (message) => peerOf(message, trustedProxies),
      onLink: (link, client) => {
        access.clusterAdmission?.admitted(client, link);
        relay.admit(link, client);
      },
    }),
  };
}

function makeApp({ options, relay, access, metrics, log }: Core): App {
  const { acceptRate, maxTunnelsPerCluster, statusListen } = options;
  const group = metrics.group('culvert_broker');
  const rejections = new RejectionCounts();
  exposeBroker(group, relay, rejections);
  const agentClocks = new AgentClocks(log);
  exposeClocks(group, agentClocks);
  const limits = { ...defaultAdmissionLimits, maxTunnelsPerCluster };
  return createApp(
    {
      ...{ relay, limits, agentClocks, log },
      authenticator: access.authenticator,
      clusterAdmission: access.clusterAdmission,
      dialerAccess: access.dialerAccess,
      acceptRate: new AcceptRate(acceptRate, systemClock),
      clock: systemClock,
      // Strangers do not see the metrics where there is a port for probes and scrapers.
      metrics: statusListen === undefined ? () => metrics.render() : undefined,
    },
    rejections,
  );
}
