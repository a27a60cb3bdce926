import { describe, expect, it } from 'vitest';
import { TunnelError, parseErrorCode, tunnelErrorCodes } from '../../src/tunnel/errors.ts';

describe('TunnelError', () => {
  it('A TunnelError carries a code, a sentence and the cause', () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:1');
    const error = new TunnelError('refused', 'the target refused', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'TunnelError', code: 'refused', cause });
  });

  it('A TunnelError stays the same object when it is caught again', () => {
    const error = new TunnelError('dns', 'no such host');
    expect(TunnelError.from(error, 'internal')).toBe(error);
  });

  it.each([
    [new Error('disk full'), 'disk full'],
    ['just text', 'just text'],
    [undefined, 'undefined'],
  ])(
    'TunnelError.from wraps %s with the given code and keeps it as the cause',
    (thrown, message) => {
      const error = TunnelError.from(thrown, 'dial_failed');
      expect(error).toMatchObject({ code: 'dial_failed', message, cause: thrown });
      expect(TunnelError.from(thrown).code).toBe('internal');
    },
  );

  it('The list of tunnel error codes has each code once', () => {
    expect(new Set(tunnelErrorCodes).size).toBe(tunnelErrorCodes.length);
  });
});

describe('parseErrorCode', () => {
  it.each(tunnelErrorCodes)('parseErrorCode accepts %s', (code) => {
    expect(parseErrorCode(code, 'internal')).toBe(code);
  });

  it.each(['no_such_code', '', 'toString', 7, undefined, null, {}])(
    'parseErrorCode replaces %o by the default',
    (code) => {
      expect(parseErrorCode(code, 'internal')).toBe('internal');
    },
  );
});
