import type { ServerRoute } from '../base/net/server-route.ts';
import type { LinkConnector } from '../tunnel/link-connector.ts';
import { connectWebSocket, type ConnectOptions } from './connect.ts';
import type { WebSocketLink } from './websocket-link.ts';

export type WebSocketConnectorOptions = Omit<ConnectOptions, keyof ServerRoute | 'signal'>;

/** Makes links over WebSockets. */
export class WebSocketConnector implements LinkConnector<ServerRoute> {
  readonly #options: WebSocketConnectorOptions;

  constructor(options: WebSocketConnectorOptions = {}) {
    this.#options = options;
  }

  connect(route: ServerRoute, signal: AbortSignal): Promise<WebSocketLink> {
    return connectWebSocket({ ...this.#options, ...route, signal });
  }
}
