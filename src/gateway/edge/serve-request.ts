import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import { isUpgradeRequest } from '../../http-exchange/upgrade.ts';
import type { Gateway } from '../gateway.ts';
import { GatewayError } from '../gateway-error.ts';
import type { ForwardedClient } from '../request-headers.ts';
import { ExchangeAnswer } from './exchange-answer.ts';
import { statusResponse } from './status-response.ts';
import type { ClientSocket } from './websocket-bridge.ts';
import { addHandshake } from './websocket-handshake.ts';
import { readWorkerRequest } from './worker-request.ts';

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
  readonly log: Logger;
}

/** Serves one request. It never rejects: each failure is a Status. */
export async function serveRequest(
  context: EdgeContext,
  request: Request,
  client: ForwardedClient,
): Promise<Response> {
  const { gateway, open, log } = context;
  const { method, signal } = request;
  const record = gateway.begin({ method, client });
  try {
    const incoming = readWorkerRequest(request, client);
    const admitted = await gateway.admit(incoming, record, signal);
    const answer = new ExchangeAnswer(context, { method, admitted, record });
    if (isUpgradeRequest(incoming)) {
      const { exchange } = admitted;
      const { head, expectedAccept } = await addHandshake(exchange.head);
      answer.start(open({ ...exchange, head }, answer), { expectedAccept });
    } else {
      answer.start(open(admitted.exchange, answer), { body: request.body });
    }
    signal.addEventListener('abort', () => answer.abort(), { once: true });
    return await answer.response;
  } catch (thrown) {
    const error = asGatewayError(thrown, log);
    record.failed(error);
    record.end(true);
    return statusResponse(error, method);
  }
}

function asGatewayError(thrown: unknown, log: Logger): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  log.error('request failed', { error: describeError(thrown) });
  return new GatewayError('BadGateway', 'the gateway has failed', { cause: thrown });
}
