import type { ReviewToken, TokenReviewStatus } from '../access/token-review.ts';
import type { OpenHttpExchange } from '../http-exchange/http-exchange.ts';
import { TunnelError } from '../tunnel/errors.ts';

const path = '/apis/authentication.k8s.io/v1/tokenreviews';
/** A longer answer is not one of an API server. */
const maxAnswerBytes = 256 * 1024;

/**
 * Reviews tokens at the API servers of managed clusters. The agent sends the request as itself,
 * which it does for this path alone.
 */
export function reviewAtManagedCluster(open: OpenHttpExchange): (cluster: string) => ReviewToken {
  return (cluster) => (token, audiences, signal) =>
    review(open, { cluster, token, audiences, signal });
}

interface Review {
  readonly cluster: string;
  readonly token: string;
  readonly audiences: readonly string[];
  readonly signal: AbortSignal;
}

function review(
  open: OpenHttpExchange,
  { cluster, token, audiences, signal }: Review,
): Promise<TokenReviewStatus | undefined> {
  const body = new TextEncoder().encode(
    JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audiences.length === 0 ? {} : { audiences }) },
    }),
  );
  const { promise, resolve, reject } = Promise.withResolvers<TokenReviewStatus | undefined>();
  let status = 0;
  let text = '';
  let bytesLeft = maxAnswerBytes;
  const decoder = new TextDecoder();
  const giveUp = (error: TunnelError): void => {
    exchange.reset(error);
    reject(error);
  };
  const onAbort = (): void => {
    const cause = signal.reason as unknown;
    giveUp(new TunnelError('cancelled', 'the TokenReview was given up', { cause }));
  };
  const exchange = open(
    {
      cluster,
      server: { kind: 'kube-apiserver' },
      credentials: 'agent',
      head: {
        method: 'POST',
        path,
        headers: [
          ['Content-Type', 'application/json'],
          ['Accept', 'application/json'],
          ['Content-Length', String(body.length)],
        ],
      },
      hasBody: true,
      signal,
    },
    {
      onHead(head) {
        status = head.status;
        // The exchange forgets its signal here, but a server may never end its answer.
        signal.addEventListener('abort', onAbort, { once: true });
      },
      onData(bytes) {
        exchange.consumed(bytes.length);
        bytesLeft -= bytes.length;
        if (bytesLeft < 0) {
          const sentence = 'the answer to the TokenReview is too long';
          return giveUp(new TunnelError('protocol_error', sentence));
        }
        text += decoder.decode(bytes, { stream: true });
      },
      onEnd() {
        if (status !== 200 && status !== 201) {
          reject(new Error(`the API server of cluster "${cluster}" answered ${status}`));
          return;
        }
        try {
          resolve(statusIn(text));
        } catch {
          reject(new Error(`the answer of the API server of cluster "${cluster}" is not JSON`));
        }
      },
      onWritable() {},
      onClose(error) {
        signal.removeEventListener('abort', onAbort);
        reject(error ?? new Error('the TokenReview has no answer'));
      },
    },
  );
  exchange.write(body);
  exchange.end();
  return promise;
}

/** @throws SyntaxError the text is not JSON */
function statusIn(text: string): TokenReviewStatus | undefined {
  const answer = JSON.parse(text) as { readonly status?: TokenReviewStatus } | null;
  return answer?.status;
}
