import { isCipherSuite, opensslCiphers, type TlsPolicy } from '../tls/tls-policy.ts';
import type { OptionsTable, OptionsOf } from './option-table.ts';
import type { OptionsDraft } from './read-options.ts';

/** The flags have the names that Kubernetes' programs use. */
export const tlsTable = {
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

export function tlsPolicyOf(values: OptionsOf<typeof tlsTable>): TlsPolicy {
  const minVersion = values.tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2';
  const suites = suitesIn(values.cipherSuites);
  return suites.length === 0 ? { minVersion } : { minVersion, ciphers: opensslCiphers(suites) };
}

export function checkTlsPolicy({ values, label, problem }: OptionsDraft<typeof tlsTable>): void {
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

function suitesIn(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map((suite) => suite.trim())
    .filter((suite) => suite !== '');
}
