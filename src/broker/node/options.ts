import { hostname } from 'node:os';
import type { OptionsDraft } from '../../base/options.ts';
import { processId } from '../../base/options-common.ts';
import type { OptionsTable } from '../../base/options-table.ts';
import type { Secret } from '../../base/secret.ts';
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
  /** Where the directory of several replicas is; undefined for a broker that is alone. */
  readonly redisUrl: Secret | undefined;
  /** PEM file with the CA of `rediss://`. */
  readonly redisCa: string | undefined;
  readonly redisPrefix: string;
  /** Where other replicas reach this one; with `redisUrl`. */
  readonly replicaAddress: URL | undefined;
  /** File with the key that the replicas share; with `redisUrl`. */
  readonly replicaKeyFile: string | undefined;
  /** PEM file with the CA of the other replicas' certificates. */
  readonly replicaCa: string | undefined;
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

export const replicaTable = {
  redisUrl: {
    name: 'redis-url',
    kind: 'string',
    secret: true,
    placeholder: 'URL',
    help: 'The directory of several replicas: redis://, rediss://, redis+sentinel:// or redis+cluster://. Without it the broker is alone.',
  },
  redisCa: { name: 'redis-ca', kind: 'file', help: 'Certificates (PEM) to trust for rediss://.' },
  redisPrefix: {
    name: 'redis-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    default: 'culvert:',
    help: 'Starts every key in Redis, so that several deployments can share one.',
  },
  replicaAddress: {
    name: 'replica-address',
    kind: 'url',
    protocols: ['ws:', 'wss:'],
    help: 'Where the other replicas reach this one, such as ws://10.0.0.7:8080. Needed with --redis-url.',
  },
  replicaKeyFile: {
    name: 'replica-key-file',
    kind: 'file',
    help: 'Holds the key that the replicas share to know each other. Needed with --redis-url.',
  },
  replicaCa: {
    name: 'replica-ca',
    kind: 'file',
    help: "Certificates (PEM) to trust for the other replicas' wss:// addresses.",
  },
} as const satisfies OptionsTable;

/** The two tables together: what `checkBroker` looks at. */
const allTable = { ...brokerTable, ...replicaTable };

/** Problems between the options of `brokerTable` and `replicaTable`. */
export function checkBroker(draft: OptionsDraft<typeof allTable>): void {
  const { values, given, label, problem, warn } = draft;
  if (given('tlsCert') !== given('tlsKey')) {
    const [present, absent] = given('tlsCert')
      ? (['tlsCert', 'tlsKey'] as const)
      : (['tlsKey', 'tlsCert'] as const);
    problem(`${label(present)} needs ${label(absent)} as well`);
  }
  for (const key of ['replicaAddress', 'replicaKeyFile'] as const) {
    if (given('redisUrl') && !given(key))
      problem(`${label('redisUrl')} needs ${label(key)} as well`);
    if (given(key) && !given('redisUrl'))
      problem(`${label(key)} is for several replicas, give ${label('redisUrl')} as well`);
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
