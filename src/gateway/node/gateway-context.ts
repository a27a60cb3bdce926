import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import type { Gateway } from '../gateway.ts';

/** A request that has not ended. */
export interface OpenRequest {
  /** Ends it at once, so that the client notices. */
  cut(): void;
}

/** The parts that all requests of a gateway share. */
export interface GatewayContext {
  readonly gateway: Gateway;
  readonly open: OpenHttpExchange;
  /** Undefined: not known. */
  readonly isKnownCluster: (cluster: string) => boolean | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly requests: Set<OpenRequest>;
  /** Called when a request has ended. */
  readonly onEnded: () => void;
}
