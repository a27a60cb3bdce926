import { describe, expect, it } from 'vitest';
import { challengeAdvice, offeredSchemes } from '../../../src/base/net/proxy-challenge.ts';

describe('Proxy-Authenticate', () => {
  it.each<[string | undefined, string[]]>([
    [undefined, []],
    ['', []],
    ['Basic realm="proxy"', ['Basic']],
    ['NTLM', ['NTLM']],
    ['Negotiate, NTLM', ['Negotiate', 'NTLM']],
    ['Negotiate TlRMTVNTUAAB==, NTLM TlRMTVNTUAAB', ['Negotiate', 'NTLM']],
    ['Digest realm="a, Basic b", nonce="x\\", Basic", qop="auth", algorithm=MD5', ['Digest']],
    ['Digest realm="a", nonce = "b", Basic realm="c"', ['Digest', 'Basic']],
    ['basic realm=x, BASIC realm=y', ['basic', 'BASIC']],
    ['Digest realm="a, Basic realm="b", NTLM', ['Digest']],
    ['Digest realm="a, Basic', ['Digest']],
    ['Kerberos\u001b[31m, <script>, "Basic"', []],
    [
      Array.from({ length: 99 }, (_, i) => `S${i}`).join(','),
      Array.from({ length: 8 }, (_, i) => `S${i}`),
    ],
  ])('The Proxy-Authenticate header %j offers the schemes %j', (header, schemes) => {
    expect(offeredSchemes(header)).toEqual(schemes);
  });

  // In quadratic time, this takes half a minute.
  it(
    'A quote that is never closed takes no quadratic time, which would block the program',
    { timeout: 10_000 },
    () => {
      expect(offeredSchemes(`Basic ${'"\\'.repeat(140_000)}`)).toEqual(['Basic']);
    },
  );

  it.each<[string | undefined, boolean, RegExp]>([
    [undefined, false, /^put user and password into/],
    ['Basic realm="x"', false, /^put user and password into/],
    ['NTLM, basic realm="x"', true, /^it did not accept the user and password/],
    ['NTLM, Negotiate', true, /^it only offers NTLM, Negotiate authentication, .* only Basic is/],
    ['Digest realm="x", qop="auth"', false, /^it only offers Digest authentication/],
  ])('The Proxy-Authenticate header %j leads to advice', (header, showed, sentence) => {
    expect(challengeAdvice(header, showed)).toMatch(sentence);
  });
});
