import type { Logger } from '../../base/log/logger.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import type { Gateway } from '../gateway.ts';
import type { ClientSocket } from './websocket-bridge.ts';

/** The parts that all requests of a gateway share. */
export interface EdgeContext {
  readonly gateway: Gateway;
  readonly open: OpenHttpExchange;
  /** Whether a cluster exists; undefined: not known. */
  readonly isKnownCluster: (cluster: string) => boolean | undefined;
  /** Makes the answer 101 with these header fields, and the near end of the client's WebSocket. */
  readonly acceptWebSocket: (headers: Headers) => {
    readonly response: Response;
    readonly socket: ClientSocket;
  };
  /** A header field, in lower case, with which the Worker talks to itself. No cluster gets it. */
  readonly ownField: string;
  readonly log: Logger;
}
