import type { IncomingMessage } from 'node:http';
import { describeError } from '../../base/error.ts';
import { KubeError } from './kube-error.ts';

// A page of 500 objects of etcd's largest size would be larger, but does not occur.
const maxAnswerBytes = 128 * 1024 * 1024;

/**
 * Returns parsed JSON, or the text if it is not JSON.
 *
 * @throws KubeError `unavailable` if the answer broke off; or the signal's reason
 */
export async function readAnswer(
  answer: IncomingMessage,
  what: string,
  signal: AbortSignal,
): Promise<unknown> {
  const onAbort = () => answer.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    signal.throwIfAborted();
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxAnswerBytes) throw new Error(`it has more than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (thrown) {
    answer.destroy();
    signal.throwIfAborted();
    const message = `cannot ${what}: the answer broke off (${describeError(thrown)}); culvert tries again`;
    throw new KubeError('unavailable', message, { cause: thrown });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
