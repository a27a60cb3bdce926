import { expect, it } from 'vitest';
import { reviewAtManagedCluster } from '../../src/gateway/managed-token-review.ts';
import type { HttpExchangeHandler } from '../../src/http-exchange/http-exchange.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';

it('A review is given up at its signal, also when the API server has begun to answer', async () => {
  let handler!: HttpExchangeHandler;
  const resets: TunnelError[] = [];
  const review = reviewAtManagedCluster((_options, opened) => {
    handler = opened;
    const reset = (error: TunnelError): void => void resets.push(error);
    return { write: () => true, end() {}, consumed() {}, reset };
  });
  const timeout = new AbortController();
  const answer = review('c1')('token', [], timeout.signal);
  handler.onHead({ status: 201, headers: [] });
  handler.onData(Buffer.from('{"status":'));
  timeout.abort(new Error('it takes too long'));
  await expect(answer).rejects.toMatchObject({ code: 'cancelled' });
  expect(resets).toHaveLength(1);
});
