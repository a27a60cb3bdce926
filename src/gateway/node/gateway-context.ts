import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import type { Gateway } from '../gateway.ts';
import type { ForwardedRequest } from './forwarded-request.ts';

/** The parts that all requests of a gateway share. */
export interface GatewayContext {
  readonly gateway: Gateway;
  readonly open: OpenHttpExchange;
  /** Undefined: not known. */
  readonly isKnownCluster: (cluster: string) => boolean | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Requests that have not ended. */
  readonly requests: Set<ForwardedRequest>;
  /** Called when a request has ended. */
  readonly onEnded: () => void;
}
