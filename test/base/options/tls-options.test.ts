import { createSecureContext } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { readOptions } from '../../../src/base/options/read-options.ts';
import { defaultCiphers } from '../../../src/base/tls/tls-policy.ts';
import { tlsPolicyOf, tlsTable } from '../../../src/base/options/tls-options.ts';

const chosen = (...argv: string[]) => tlsPolicyOf(readOptions(tlsTable, argv, {}).values);

describe('tlsPolicyOf', () => {
  it.each([
    ['VersionTLS10', 'TLSv1.2'],
    ['VersionTLS12', 'TLSv1.2'],
    ['VersionTLS13', 'TLSv1.3'],
  ])('The option --tls-min-version=%s means %s', (given, minVersion) => {
    expect(chosen(`--tls-min-version=${given}`)).toEqual({ minVersion, ciphers: defaultCiphers });
  });

  it("The chosen cipher suites are combined with those of TLS 1.3, in OpenSSL's names", () => {
    const suites = 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256';
    const choice = chosen(`--cipher-suites=${suites}`);
    expect(choice.ciphers.split(':')).toEqual([
      'TLS_AES_128_GCM_SHA256',
      'TLS_AES_256_GCM_SHA384',
      'TLS_CHACHA20_POLY1305_SHA256',
      'ECDHE-ECDSA-AES128-GCM-SHA256',
    ]);
    expect(() => createSecureContext(choice)).not.toThrow();
  });

  it('The option --cipher-suites refuses an unknown suite', () => {
    expect(() => chosen('--cipher-suites=TLS_NULL')).toThrow(
      '--cipher-suites names TLS_NULL, which is no cipher suite that is known here',
    );
  });
});
