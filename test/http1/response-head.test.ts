import { describe, expect, it } from 'vitest';
import { parseFields } from '../../src/http1/header-fields.ts';
import { parseResponseHead } from '../../src/http1/response-head.ts';

describe('The head of a response', () => {
  it('A head is parsed to its fields, without the space around their values', () => {
    const lines = ['HTTP/1.1 200 OK', 'A: b', 'c:d', 'E: \t f \u00ff g \t', 'h:', 'A:  b:c'];
    expect(parseResponseHead(lines.join('\r\n'), 'GET')).toMatchObject({
      status: 200,
      headers: [
        ['A', 'b'],
        ['c', 'd'],
        ['E', 'f \u00ff g'],
        ['h', ''],
        ['A', 'b:c'],
      ],
    });
  });

  it.each(['no colon', ': b', 'a b: c', 'a : b', ' a: b', 'a: b\0', 'a: b\nc: d', 'a: b\rc', ''])(
    'The line %j is no field',
    (line) => {
      expect(() => parseFields(`x: y\r\n${line}`)).toThrow('a header field that is not valid');
    },
  );

  // In quadratic time, this takes half a minute.
  it(
    'A field of spaces takes no quadratic time, which would block the agent',
    { timeout: 10_000 },
    () => {
      const spaces = ' '.repeat(100_000);
      expect(parseFields(`a: b${spaces}c`)).toEqual([['a', `b${spaces}c`]]);
      expect(() => parseFields(`a:${spaces}\0`)).toThrow('a header field that is not valid');
    },
  );
});
