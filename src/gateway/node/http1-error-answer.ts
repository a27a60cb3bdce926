import type { Http1Error } from '../../http1/http1-error.ts';
import { responseText } from '../../http1/response-text.ts';
import { GatewayError } from '../gateway-error.ts';
import { statusAnswer } from '../status-answer.ts';

/** The answer to bytes that are no request. The connection ends with it. */
export function http1ErrorAnswer({ code, message }: Http1Error): Uint8Array {
  const error =
    code === 'too_large'
      ? new GatewayError('RequestHeaderFieldsTooLarge', 'the head of the request is too long', {
          hop: 'client',
        })
      : new GatewayError('BadRequest', `the request is not valid HTTP/1.1: ${message}`, {
          hop: 'client',
        });
  const { head, body } = statusAnswer(error);
  const text = responseText(head, { isChunked: false, keepsAlive: false });
  return Buffer.concat([Buffer.from(text, 'latin1'), body]);
}
