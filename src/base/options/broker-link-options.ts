import {
  GatewayHeaderError,
  joinHeaders,
  parseHeaderOption,
  readHeaderFile,
} from '../net/gateway-headers.ts';
import type { OptionsDraft } from './read-options.ts';
import type { Env, OptionsOf, OptionsTable } from './option-table.ts';
import { isLoopback } from '../net/host-port.ts';
import { type ProxyEnvironment, readProxyEnvironment } from '../net/proxy-environment.ts';
import { readSecretFile } from '../files/secret-file.ts';
import type { Secret } from '../secret.ts';
import { ValueError } from '../value-error.ts';

/** Options of every program that connects to a broker. */
export const brokerLinkTable = {
  brokerUrl: {
    name: 'broker-url',
    kind: 'url',
    protocols: ['ws:', 'wss:'],
    required: true,
    help: 'The URL of the broker: wss://HOST, or ws:// on loopback.',
  },
  tokenFile: {
    name: 'token-file',
    kind: 'file',
    help: 'A file with the enrolment token from `culvert token`. It is read again at every connect, so it can be replaced at any time.',
  },
  token: {
    name: 'token',
    kind: 'string',
    secret: true,
    envOnly: true,
    help: 'The enrolment token itself, instead of --token-file. There is no flag for it, because other users of a machine can read command lines.',
  },
  caFile: {
    name: 'ca-file',
    kind: 'file',
    holdsCasOf: 'servers',
    help: 'CA certificates (PEM) to trust in addition to the well-known CAs, for the broker and for an https:// proxy on the way.',
  },
  serverName: {
    name: 'server-name',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The name in the certificate of the broker. Default: the host of the URL.',
  },
  hostHeader: {
    name: 'host-header',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The Host header to send, for an ingress that routes by a name other than the host of the URL.',
  },
  header: {
    name: 'header',
    kind: 'string',
    placeholder: 'NAME=VALUE',
    repeatable: true,
    secret: true,
    help: 'A header for a gateway in front of the broker. It is sent with the request that opens a link, and never to a proxy. Other users of a machine can read command lines, so use --header-file for secrets.',
  },
  headerFile: {
    name: 'header-file',
    kind: 'file',
    help: 'A file with such headers, one per line: `NAME: VALUE`. It is read again at every connect and never logged.',
  },
  zone: {
    name: 'zone',
    kind: 'parsed',
    parse: parseZone,
    placeholder: 'NAME',
    help: 'The zone in which this process runs, as in the label topology.kubernetes.io/zone of its node. Dialers prefer agents of their own zone. Default: not known.',
  },
} as const satisfies OptionsTable;

/** @throws ValueError it is no name of a zone */
export function parseZone(text: string): string {
  if (/^[\w.-]{1,64}$/.test(text)) return text;
  throw new ValueError('is not the name of a zone: 1 to 64 letters, digits, ".", "-" or "_"');
}

type LinkTable = typeof brokerLinkTable;
type LinkValues = Omit<OptionsOf<LinkTable>, 'brokerUrl'>;

/** How a program reaches a broker, without the broker's URL, and the credentials that it sends. */
export interface BrokerAccess extends Pick<LinkValues, 'caFile' | 'serverName' | 'hostHeader'> {
  /** The zone in which this process runs (default: not known). */
  readonly zone?: LinkValues['zone'];
  /**
   * Reads the token to send. The file is read at each call, so that a rotated token is used.
   * Undefined when no token is configured.
   */
  readToken(this: void): Promise<Secret | undefined>;
  /**
   * Reads the headers for gateways in front of the broker, at each call (default: no headers).
   *
   * @throws Error that names the file and the line, never a value
   */
  readonly readHeaders?: ((this: void) => Promise<Readonly<Record<string, string>>>) | undefined;
  /** Proxies on the way to the broker. */
  readonly proxies: ProxyEnvironment;
}

/** How a program reaches a broker, and the credentials that it sends. */
export interface BrokerLinkOptions extends BrokerAccess {
  readonly brokerUrl: URL;
}

/** Reports options of `brokerLinkTable` that do not fit together. */
export function checkBrokerLink({ values, given, label, problem }: OptionsDraft<LinkTable>): void {
  const fromEnvTwice = label('tokenFile').startsWith('CULVERT_') && given('token');
  if (fromEnvTwice) problem(`${label('tokenFile')} and ${label('token')} are both set, keep one`);

  checkHeaders(values.header, label('header'), problem);
  const url = values.brokerUrl;
  if (url?.protocol !== 'ws:') return;
  const shown = `${label('brokerUrl')}=${url.origin}`;
  if ((given('tokenFile') || given('token')) && !isLoopback(url.hostname)) {
    problem(
      `${shown} would send the token unencrypted, use wss:// (ws:// is for loopback addresses)`,
    );
  }
  if (given('headerFile') && !isLoopback(url.hostname)) {
    problem(
      `${shown} would send what ${label('headerFile')} holds unencrypted, use wss:// (ws:// is for loopback addresses)`,
    );
  }
  for (const key of ['caFile', 'serverName'] as const) {
    if (given(key)) problem(`${label(key)} is for TLS, but ${shown} has none, use wss://`);
  }
}

function checkHeaders(
  given: readonly Secret[] | undefined,
  label: string,
  problem: (sentence: string) => void,
): void {
  try {
    joinHeaders((given ?? []).map((text) => parseHeaderOption(text.reveal())));
  } catch (thrown) {
    if (!(thrown instanceof GatewayHeaderError)) throw thrown;
    problem(`${label} ${thrown.message}`);
  }
}

/** The part of a program's options that tells how to reach its broker. */
export function brokerAccess(values: LinkValues, env: Env): BrokerAccess {
  const { tokenFile, token, caFile, serverName, hostHeader, zone, header, headerFile } = values;
  const headers = header.map((text) => parseHeaderOption(text.reveal()));
  return {
    readToken: async () => (tokenFile === undefined ? token : readSecretFile(tokenFile)),
    caFile,
    serverName,
    hostHeader,
    zone,
    readHeaders: async () => {
      const fromFile = headerFile === undefined ? [] : await readHeaderFile(headerFile);
      return joinHeaders([...headers, ...fromFile]);
    },
    proxies: readProxyEnvironment(env),
  };
}
