import { expect, it } from 'vitest';
import { watchLines } from '../../../src/kube/client/watch-lines.ts';

async function* chunks(...texts: string[]) {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

it('The lines of a watch may come in pieces, and have a largest size', async () => {
  const lines = await Array.fromAsync(watchLines(chunks('on', 'e\ntw', 'o\n\nthree\n'), 5));
  expect(lines).toEqual(['one', 'two', 'three']);
  const long = Array.fromAsync(watchLines(chunks('one\n', 'abc', 'def'), 5));
  await expect(long).rejects.toThrow('a line has more than 5 bytes');
});
