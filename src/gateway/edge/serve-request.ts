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
  let revoked: string | undefined;
  record.owner = { onRevoked: (reason) => void (revoked = reason) };
  try {
    const incoming = readWorkerRequest(request, client, ownField);
    const admitted = await gateway.admit(incoming, record, signal);
    const { exchange } = admitted;
    const handshake = isUpgradeRequest(incoming) ? await addHandshake(exchange.head) : undefined;
    // The client may have left, or lost its rights, while this function waited.
    signal.throwIfAborted();
    if (revoked !== undefined) throw new GatewayError('Forbidden', revoked);
    const answer = new ExchangeAnswer(context, { method, admitted, record });
    if (handshake === undefined) {
      answer.start(open(exchange, answer), { body: request.body });
    } else {
      const { head, expectedAccept } = handshake;
      answer.start(open({ ...exchange, head }, answer), { expectedAccept });
    }
    signal.addEventListener('abort', () => answer.abort(), { once: true });
    return await answer.response;
  } catch (thrown) {
    // A client that has left gets no answer.
    if (signal.aborted) record.end(false);
    const error = asGatewayError(thrown, signal, log);
    record.failed(error);
    record.end(true);
    return statusResponse(error, method);
  }
}

function asGatewayError(thrown: unknown, { aborted }: AbortSignal, log: Logger): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  if (aborted) {
    return new GatewayError('BadGateway', 'the client has left', { hop: 'client', cause: thrown });
  }
  log.error('request failed', { error: describeError(thrown) });
  return new GatewayError('BadGateway', 'the gateway has failed', { cause: thrown });
}
