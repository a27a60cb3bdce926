import type { HttpResponseHead } from '../http-exchange/http-exchange.ts';
import type { GatewayError } from './gateway-error.ts';

/** An answer of the gateway itself. */
export interface StatusAnswer {
  readonly head: HttpResponseHead;
  readonly body: Uint8Array;
}

const encoder = new TextEncoder();

/**
 * The answer to a request that the gateway does not forward: a `Status` of `meta/v1`, which kubectl
 * and client-go show as an error of an API server. The cause in `details` names the failing hop.
 */
export function statusAnswer(error: GatewayError): StatusAnswer {
  const { code, reason, hop, retryAfterSeconds } = error;
  const message = `culvert: ${error.message}`;
  const body = encoder.encode(
    `${JSON.stringify({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason,
      details: {
        causes: [{ reason: 'FailedHop', field: hop, message: error.message }],
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
      code,
    })}\n`,
  );
  return {
    head: {
      status: code,
      headers: [
        ['Content-Type', 'application/json'],
        ['Content-Length', String(body.length)],
        ['Cache-Control', 'no-cache, private'],
        ['X-Content-Type-Options', 'nosniff'],
        ...(retryAfterSeconds === undefined
          ? []
          : [['Retry-After', String(retryAfterSeconds)] as const]),
        ...(reason === 'Unauthorized' ? [['WWW-Authenticate', 'Bearer'] as const] : []),
      ],
    },
    body,
  };
}
