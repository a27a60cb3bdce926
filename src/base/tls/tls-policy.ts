import type { OptionsDraft } from '../options/read-options.ts';
import type { OptionsTable, OptionValues } from '../options/option-table.ts';

/** What the servers of a program speak, in the names of node:tls. */
export interface TlsChoice {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Undefined: the runtime's own choice. */
  readonly ciphers?: string;
}

export const defaultTlsChoice: TlsChoice = { minVersion: 'TLSv1.2' };

/** The names are those of Kubernetes' programs. */
export const tlsChoiceTable = {
  tlsMinVersion: {
    name: 'tls-min-version',
    kind: 'choice',
    choices: ['VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'],
    default: 'VersionTLS12',
    help: 'The oldest TLS that is spoken with agents, dialers and konnectivity clients. What is older than VersionTLS12 counts as that.',
  },
  cipherSuites: {
    name: 'cipher-suites',
    kind: 'string',
    placeholder: 'NAMES',
    help: 'The cipher suites of TLS 1.2, by their IANA names and separated by commas. Those of TLS 1.3 cannot be chosen.',
  },
} as const satisfies OptionsTable;

/** What OpenSSL calls the suites of TLS 1.2 that Go's crypto/tls knows. */
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

/** OpenSSL has the same names; left out, they would be switched off. */
const newestSuites = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
];

export function tlsChoice(values: OptionValues<typeof tlsChoiceTable>): TlsChoice {
  const minVersion = values.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2';
  const suites = suitesIn(values.cipherSuites);
  if (suites.length === 0) return { minVersion };
  const chosen = suites.flatMap((suite) => opensslNames[suite] ?? []);
  return { minVersion, ciphers: [...newestSuites, ...chosen].join(':') };
}

export function checkTlsChoice({
  values,
  label,
  problem,
}: OptionsDraft<typeof tlsChoiceTable>): void {
  const wrong = cipherSuitesProblem(values.cipherSuites ?? '');
  if (wrong !== undefined) problem(`${label('cipherSuites')} ${wrong}`);
}

/** What is wrong with a list of suites, to be put after it; undefined: nothing. */
export function cipherSuitesProblem(text: string): string | undefined {
  const unknown = suitesIn(text).filter((suite) => !isCipherSuite(suite));
  if (unknown.length === 0) return undefined;
  const [which, what] = unknown.length === 1 ? ['is', 'suite'] : ['are', 'suites'];
  return `names ${unknown.join(', ')}, which ${which} no cipher ${what} that ${which} known here`;
}

/** Whether a name is IANA's of a suite that can be spoken: what Go's crypto/tls implements, minus what OpenSSL has dropped. */
export function isCipherSuite(name: string): boolean {
  return Object.hasOwn(opensslNames, name) || newestSuites.includes(name);
}

function suitesIn(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map((suite) => suite.trim())
    .filter((suite) => suite !== '');
}
