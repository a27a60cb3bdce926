import { describe, expect, it } from 'vitest';
import { Applier } from '../../../src/addon/runtime/applier.ts';
import { ObjectWriter, throwFailures } from '../../../src/addon/runtime/object-writer.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { KubeError, type KubeErrorCode } from '../../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { type MemoryCall, MemoryKubeApi } from '../../../testkit/kube/memory-kube-api.ts';
import { MemoryLog } from '../controllers/memory-log.ts';

const objectOf = (name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'hub' },
});

/** A writer whose API server refuses the objects named in `refused`. */
function writerWith(refused: Readonly<Record<string, KubeErrorCode>>): ObjectWriter {
  const intercept = ({ name = '' }: MemoryCall) => {
    const code = refused[name];
    return code && new KubeError(code, `${code} ${name}`);
  };
  const api = new MemoryKubeApi({ namespaces: ['hub'], intercept });
  const context = { api, applier: new Applier(api, systemClock), log: new MemoryLog() };
  return new ObjectWriter(context, 'info', new AbortController().signal);
}

describe('ObjectWriter', () => {
  it('ObjectWriter continues after an object that the API server refuses, and names all such objects', async () => {
    const writer = writerWith({ a: 'invalid', c: 'forbidden' });
    expect(await writer.apply(objectOf('a'), undefined)).toBe(false);
    expect(await writer.apply(objectOf('b'), undefined)).toBe(true);
    await writer.delete(objectOf('c'));
    writer.fail('Secret hub/s', 'it is in the way');
    expect(writer.failure).toMatch(
      /^Service hub\/a: invalid a; Service hub\/c: forbidden c; grant that .*; Secret hub\/s: it is in the way$/,
    );
  });

  it('ObjectWriter throws an error that does not concern one object alone', async () => {
    const writer = writerWith({ a: 'unavailable' });
    await expect(writer.apply(objectOf('a'), undefined)).rejects.toThrow('unavailable a');
    expect(writer.failure).toBeUndefined();
  });
});

describe('throwFailures', () => {
  it('throwFailures throws the failures of all writers together, and nothing without failures', async () => {
    const [first, second, third] = [writerWith({ a: 'invalid' }), writerWith({}), writerWith({})];
    throwFailures(first, second, third);
    await first.apply(objectOf('a'), undefined);
    third.fail('Secret hub/s', 'it is in the way');
    const thrown = await Promise.try(() => throwFailures(first, second, third)).catch(
      (error: unknown) => error,
    );
    expect(thrown).toBeInstanceOf(AggregateError);
    expect(thrown).toMatchObject({
      message: 'Service hub/a: invalid a; Secret hub/s: it is in the way',
      errors: [{ code: 'invalid' }, { message: 'it is in the way' }],
    });
  });
});
