import { describe, expect, it } from 'vitest';
import { TunnelError, tunnelErrorCodes } from '../../src/tunnel/errors.ts';
import { closeError, closePayload } from '../../src/websocket/close-code.ts';

function received(payload: Uint8Array): TunnelError | undefined {
  return closeError((payload[0]! << 8) | payload[1]!, Buffer.from(payload.subarray(2)).toString());
}

describe('Close codes', () => {
  it.each(tunnelErrorCodes)(
    'A close frame carries %s and its sentence to the other end',
    (code) => {
      const payload = closePayload(new TunnelError(code, 'what happened'));
      expect(received(payload)).toMatchObject({ code, message: 'what happened' });
    },
  );

  it.each([
    ['protocol_error', 1002],
    ['frame_too_large', 1009],
    ['draining', 1001],
    ['forbidden', 1008],
    ['unauthorized', 1008],
    ['internal', 1011],
    ['overloaded', 4018],
  ] as const)('A close frame encodes %s as %d', (code, number) => {
    const payload = closePayload(new TunnelError(code, ''));
    expect((payload[0]! << 8) | payload[1]!).toBe(number);
  });

  it('The close code of an orderly end is 1000, and a close frame without a code means an orderly end', () => {
    expect(closePayload(undefined)).toEqual(Uint8Array.of(0x03, 0xe8));
    expect(received(closePayload(undefined))).toBeUndefined();
    expect(closeError(undefined, '')).toBeUndefined();
  });

  it('A close frame cuts a long sentence between characters', () => {
    for (let length = 50; length < 70; length++) {
      const payload = closePayload(new TunnelError('internal', `${'ä'.repeat(length)}𝄞𝄞𝄞`));
      expect(payload.length).toBeLessThanOrEqual(125);
      const text = new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2));
      expect(text.startsWith('internal: ää')).toBe(true);
    }
  });

  it.each([
    [1001, 'going away', 'draining'],
    [1008, '', 'forbidden'],
    [1011, 'oops', 'internal'],
    [1012, '', 'draining'],
    [1013, '', 'overloaded'],
    [4999, 'brand_new: of a later version', 'link_lost'],
    [3000, '', 'link_lost'],
  ])('A close code of another implementation is translated: %d %s', (number, reason, code) => {
    const error = closeError(number, reason);
    expect(error?.code).toBe(code);
    expect(error?.message).toContain(reason);
    expect(error?.message).toContain(String(number));
  });
});
