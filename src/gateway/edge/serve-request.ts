import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { isUpgradeRequest } from '../../http-exchange/upgrade.ts';
import { GatewayError } from '../gateway-error.ts';
import type { ForwardedClient } from '../request-headers.ts';
import type { EdgeContext } from './edge-context.ts';
import { ExchangeAnswer } from './exchange-answer.ts';
import { statusResponse } from './status-response.ts';
import { addHandshake } from './websocket-handshake.ts';
import { readWorkerRequest } from './worker-request.ts';

/** Serves one request. It never rejects: each failure is a Status. */
export async function serveRequest(
  context: EdgeContext,
  request: Request,
  client: ForwardedClient,
): Promise<Response> {
  const { gateway, open, ownField, log } = context;
  const { method, signal } = request;
  const record = gateway.begin({ method, client });
  try {
    const incoming = readWorkerRequest(request, client, ownField);
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
