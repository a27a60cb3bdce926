import { hostname } from 'node:os';
import type { OptionsDraft } from '../../base/options.ts';
import { processId } from '../../base/options-common.ts';
import type { OptionsTable } from '../../base/options-table.ts';
import { formatHostPort, type HostPort, isLoopback } from '../../base/options-values.ts';

/** What `startBroker` is told. The paths are of files that could be read at the start, and may change while running. */
export interface BrokerOptions {
  /** Port 0 lets the system choose. */
  readonly listen: HostPort;
  /** PEM file; with `tlsKey`, or neither: then TLS ends in front of the broker. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** PEM files with the public keys of enrolment tokens; a token of any of them is accepted. Empty: no credentials are asked for. */
  readonly tokenPublicKey: readonly string[];
  /** Names this process among the replicas; unique. */
  readonly replicaId: string;
  /** WebSocket upgrades per second; above it the answer is 503 with Retry-After. */
  readonly acceptRate: number;
  /** How long streams may go on after a drain began, in milliseconds. */
  readonly drainTimeoutMs: number;
}

export const brokerTable = {
  listen: {
    name: 'listen',
    kind: 'hostPort',
    default: '127.0.0.1:8080',
    help: 'Where agents and dialers connect. An address that other machines can reach needs --token-public-key.',
  },
  tlsCert: {
    name: 'tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --listen. Leave it out where an ingress ends TLS in front of the broker.',
  },
  tlsKey: { name: 'tls-key', kind: 'file', help: 'Private key (PEM) of --tls-cert.' },
  tokenPublicKey: {
    name: 'token-public-key',
    kind: 'file',
    repeatable: true,
    help: 'Public key (PEM) of enrolment tokens, made by `culvert token keygen`. Several are accepted side by side, for rotation.',
  },
  replicaId: {
    name: 'replica-id',
    kind: 'string',
    placeholder: 'ID',
    default: { says: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'Names this process among the replicas of the broker.',
  },
  acceptRate: {
    name: 'accept-rate',
    kind: 'integer',
    min: 1,
    default: '200',
    help: 'New connections accepted per second; above it they are told when to come back.',
  },
} as const satisfies OptionsTable;

/** Problems between the options of `brokerTable`. */
export function checkBroker(draft: OptionsDraft<typeof brokerTable>): void {
  const { values, given, label, problem, warn } = draft;
  if (given('tlsCert') !== given('tlsKey')) {
    const [present, absent] = given('tlsCert')
      ? (['tlsCert', 'tlsKey'] as const)
      : (['tlsKey', 'tlsCert'] as const);
    problem(`${label(present)} needs ${label(absent)} as well`);
  }
  if (given('tokenPublicKey') || values.listen === undefined) return;
  const address = formatHostPort(values.listen);
  if (isLoopback(values.listen.host)) {
    warn(
      `no --token-public-key: every process on this machine may connect to ${address} as any cluster`,
    );
  } else {
    problem(
      `${label('listen')}=${address} can be reached from other machines but nobody is asked for credentials, ` +
        'give --token-public-key (culvert token keygen makes a key) or listen on 127.0.0.1',
    );
  }
}
