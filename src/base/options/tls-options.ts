import {
  defaultCiphers,
  isCipherSuite,
  opensslCiphers,
  type TlsPolicy,
} from '../tls/tls-policy.ts';
import { ValueError } from '../value-error.ts';
import type { OptionsTable, OptionsOf } from './option-table.ts';

/** TLS options of every server. The flags have the same names as in Kubernetes' programs. */
export const tlsTable = {
  tlsMinVersion: {
    name: 'tls-min-version',
    kind: 'choice',
    choices: ['VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'],
    default: 'VersionTLS12',
    help: 'The oldest TLS version for agents, dialers and konnectivity clients. Versions before VersionTLS12 mean VersionTLS12.',
  },
  cipherSuites: {
    name: 'cipher-suites',
    kind: 'parsed',
    parse: parseCipherSuites,
    placeholder: 'NAMES',
    help: 'IANA names of the TLS 1.2 cipher suites, separated by commas. The suites of TLS 1.3 cannot be chosen.',
  },
} as const satisfies OptionsTable;

export function tlsPolicyOf({
  tlsMinVersion,
  cipherSuites = [],
}: Pick<OptionsOf<typeof tlsTable>, 'tlsMinVersion' | 'cipherSuites'>): TlsPolicy {
  const minVersion = tlsMinVersion === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2';
  const ciphers = cipherSuites.length === 0 ? defaultCiphers : opensslCiphers(cipherSuites);
  return { minVersion, ciphers };
}

function parseCipherSuites(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  const suites = names.filter((name) => name !== '');
  const unknown = suites.filter((suite) => !isCipherSuite(suite));
  if (unknown.length === 0) return suites;
  const [which, what] = unknown.length === 1 ? ['is', 'suite'] : ['are', 'suites'];
  throw new ValueError(
    `names ${unknown.join(', ')}, which ${which} no cipher ${what} that ${which} known here`,
    { withoutText: true },
  );
}
