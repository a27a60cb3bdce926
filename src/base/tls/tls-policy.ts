import { DEFAULT_CIPHERS } from 'node:tls';

/**
 * The versions and cipher suites that the servers of a program accept, in the names of node:tls.
 */
export interface TlsPolicy {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** OpenSSL's names. A server prefers the suites that come first. */
  readonly ciphers: string;
}

/** Node's servers prefer AES-256, which costs a konnectivity client a third more CPU per byte. */
const preferredSuite = 'TLS_AES_128_GCM_SHA256';

/** The suites that Node enables. As in Go, AES-128 comes first. */
export const defaultCiphers = preferred(DEFAULT_CIPHERS.split(':')).join(':');

export const defaultTlsPolicy: TlsPolicy = { minVersion: 'TLSv1.2', ciphers: defaultCiphers };

function preferred(suites: readonly string[]): readonly string[] {
  // An operator may have disabled the suite with Node's --tls-cipher-list.
  if (!suites.includes(preferredSuite)) return suites;
  return [preferredSuite, ...suites.filter((suite) => suite !== preferredSuite)];
}

/** OpenSSL's names of the TLS 1.2 suites that Go's crypto/tls implements, by their IANA names. */
const opensslNames: Readonly<Record<string, string>> = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256: 'ECDHE-ECDSA-AES128-SHA256',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256: 'ECDHE-RSA-AES128-SHA256',
  TLS_RSA_WITH_AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
  TLS_RSA_WITH_AES_128_CBC_SHA: 'AES128-SHA',
  TLS_RSA_WITH_AES_256_CBC_SHA: 'AES256-SHA',
  TLS_RSA_WITH_AES_128_CBC_SHA256: 'AES128-SHA256',
};

/** The suites of TLS 1.3. OpenSSL uses their IANA names. A list without them would disable them. */
const newestSuites = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

/**
 * OpenSSL's cipher list for TLS 1.2 suites in IANA names. The list always holds the suites of TLS
 * 1.3.
 */
export function opensslCiphers(suites: readonly string[]): string {
  return [...newestSuites, ...suites.flatMap((suite) => opensslNames[suite] ?? [])].join(':');
}

/** Whether `name` is the IANA name of a suite that both Go's crypto/tls and OpenSSL implement. */
export function isCipherSuite(name: string): boolean {
  return Object.hasOwn(opensslNames, name) || newestSuites.includes(name);
}
