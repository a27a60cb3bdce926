import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import type { ConnectionUser } from './connection-user.ts';
import type { RequestText } from './request-text.ts';

/** A connection of HTTP/1.1, or one stream of an HTTP/2 connection, with one request at a time. */
export interface RequestCarrier {
  /** Called once, and before the other methods. */
  send(request: RequestText, user: ConnectionUser): void;
  /** Sends a piece of the request's body, which is copied. */
  writeBody(bytes: Uint8Array): void;
  /** Ends the request's body. */
  endBody(trailers: HeaderList): void;
  /** `onBody` returned false before, and there is room again. */
  resume(): void;
  /** Ends the request, before or after `send`. The user hears no more. Idempotent. */
  destroy(): void;
}
