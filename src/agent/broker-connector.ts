import type { ServerRoute } from '../base/net/server-route.ts';
import { formatTime, parseTime, timeHeader } from '../base/time-header.ts';
import { isLoopback } from '../base/net/host-port.ts';
import { version } from '../base/version.ts';
import { ConnectError } from '../tunnel/connect-error.ts';
import type { LinkConnector } from '../tunnel/link-connector.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import type { BrokerClock } from './broker-clock.ts';
import type { BrokerRoutes } from './broker-route.ts';
import type { AgentOptions } from './options.ts';

/** Makes the connections of an agent's tunnels. */
export class BrokerConnector {
  readonly #options: Pick<AgentOptions, 'cluster' | 'agentId'>;
  readonly #routes: BrokerRoutes;
  readonly #clock: BrokerClock;
  readonly #connector: LinkConnector<ServerRoute>;
  /** Tells this process apart from others with the same agent id, before it and beside it. */
  readonly #instance = crypto.randomUUID();

  constructor(
    options: Pick<AgentOptions, 'cluster' | 'agentId'>,
    routes: BrokerRoutes,
    clock: BrokerClock,
    connector: LinkConnector<ServerRoute>,
  ) {
    this.#options = options;
    this.#routes = routes;
    this.#clock = clock;
    this.#connector = connector;
  }

  /** @throws ConnectError, and the errors of `BrokerRoutes.next` */
  async connect(tunnel: number, signal: AbortSignal): Promise<AttachableLink> {
    const { correctionMs } = this.#clock;
    try {
      return await this.#connectOnce(tunnel, signal);
    } catch (thrown) {
      if (!(thrown instanceof ConnectError && thrown.status === 401)) throw thrown;
      this.#routes.refused();
      // Where the answer has changed our idea of the time, the token was made for another one. Once: the next answer is no news.
      if (this.#clock.correctionMs === correctionMs) throw thrown;
      return await this.#connectOnce(tunnel, signal);
    }
  }

  async #connectOnce(tunnel: number, signal: AbortSignal): Promise<AttachableLink> {
    const { cluster, agentId } = this.#options;
    const { headers, ...route } = await this.#routes.next();
    const { protocol, hostname } = route.url;
    // Without TLS, or with whatever certificate, the time may be anybody's.
    const isProven = route.trust !== 'anyone' && (protocol === 'wss:' || isLoopback(hostname));
    const full: ServerRoute = {
      ...route,
      headers: {
        'Culvert-Cluster': cluster,
        'Culvert-Agent': agentId,
        'Culvert-Instance': this.#instance,
        'Culvert-Tunnel': `${tunnel}`,
        [timeHeader]: formatTime(this.#clock.localTime()),
        ...headers,
      },
      userAgent: `culvert-agent/${version}`,
      onAnswer: (answered, elapsedMs) => {
        const brokerTimeMs = parseTime(answered.get(timeHeader.toLowerCase()));
        if (isProven && brokerTimeMs !== undefined) this.#clock.observe(brokerTimeMs, elapsedMs);
      },
    };
    return await this.#connector.connect(full, signal);
  }
}
