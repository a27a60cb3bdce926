import type { GatewayError } from '../gateway-error.ts';
import { statusAnswer } from '../status-answer.ts';
import { runtimeHeaders } from './worker-request.ts';

/** The gateway's own answer to a request. */
export function statusResponse(error: GatewayError, method: string): Response {
  const { head, body } = statusAnswer(error);
  const headers = runtimeHeaders(head.headers);
  return new Response(method === 'HEAD' ? null : new Uint8Array(body), {
    status: head.status,
    headers,
  });
}
