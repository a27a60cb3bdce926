import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { parseLabelSelector } from '../access/label-selector.ts';
import { isCallerName, isTokenId, type TokenSubject } from '../base/tokens/token-subject.ts';
import { ConfigError } from '../base/options/option-problems.ts';
import { readOptions } from '../base/options/read-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { ValueError } from '../base/value-error.ts';
import { Secret } from '../base/secret.ts';
import type { Command, CommandIo } from './command.ts';

const defaultKey = 'culvert-token.key';
const keyOption = {
  name: 'key',
  kind: 'file',
  default: defaultKey,
  help: 'The private key (PEM) from `culvert token keygen`.',
} as const;
const ttlOption = {
  name: 'ttl',
  kind: 'durationMs',
  min: 1000,
  max: 10 * 365 * 24 * 3_600_000,
  default: '720h',
  help: 'How long the token is valid.',
} as const;

const keygenTable = {
  key: {
    name: 'key',
    kind: 'string',
    placeholder: 'FILE',
    default: defaultKey,
    help: 'The file for the private key. The public key gets the same name with .pub. Existing files are not replaced.',
  },
} as const satisfies OptionsTable;

const agentTokenTable = {
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    required: true,
    help: 'The cluster whose agents may use the token.',
  },
  ttlMs: ttlOption,
  key: keyOption,
} as const satisfies OptionsTable;

const dialerTokenTable = {
  name: {
    name: 'name',
    kind: 'parsed',
    parse: parseCallerName,
    placeholder: 'NAME',
    required: true,
    help: 'The name of the owner in the logs of brokers and agents.',
  },
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    repeatable: true,
    help: 'A cluster that the owner may reach. Default: every cluster. Brokers before 0.12 refuse a token with this option.',
  },
  selector: {
    name: 'selector',
    kind: 'parsed',
    parse: parseSelector,
    placeholder: 'SELECTOR',
    help: 'Clusters that the owner may reach, by the labels of their ManagedCluster, such as env=test. The broker needs --kubernetes or --kubeconfig. Brokers before 0.12 refuse a token with this option alone.',
  },
  id: {
    name: 'id',
    kind: 'parsed',
    parse: parseTokenId,
    placeholder: 'ID',
    default: { help: 'a random id', make: () => randomUUID() },
    help: "The token's id. A policy file can revoke the token by it.",
  },
  ttlMs: ttlOption,
  key: keyOption,
} as const satisfies OptionsTable;

const gatewayTokenTable = {
  name: dialerTokenTable.name,
  ttlMs: ttlOption,
  key: keyOption,
} as const satisfies OptionsTable;

export const tokenKeygenCommand: Command = {
  name: 'token keygen',
  summary: 'create the key pair that signs enrolment tokens',
  about:
    'Creates an Ed25519 key pair. The private key signs enrolment tokens. Keep it secret, because its owner can issue tokens ' +
    'for every cluster. Brokers need only the public key.',
  groups: [{ title: 'Options', table: keygenTable }],
  examples: [
    { title: 'the key pair of a new installation', line: 'culvert token keygen' },
    {
      title: 'another key pair, for rotation',
      line: 'culvert token keygen --key culvert-token-2.key',
    },
  ],
  async run(argv, { env, stderr }) {
    const { values } = readOptions(keygenTable, argv, env);
    const publicKey = `${values.key}.pub`;
    const { generateTokenKeyPair } = await import('../base/tokens/enrolment-token.ts');
    const pair = await generateTokenKeyPair();
    await writeNewFile(values.key, pair.privateKeyPem.reveal(), 0o600);
    try {
      await writeNewFile(publicKey, pair.publicKeyPem, 0o644);
    } catch (thrown) {
      // A private key next to the public key of another pair would mislead users.
      await rm(values.key);
      throw thrown;
    }
    stderr.write(
      `Wrote ${values.key} (private, keep it) and ${publicKey} (public, for brokers).\n` +
        `Next:\n` +
        `  culvert broker --token-public-key ${publicKey}\n` +
        `  culvert token agent --cluster NAME --key ${values.key} > NAME.token\n`,
    );
    return 0;
  },
};

export const tokenAgentCommand: Command = {
  name: 'token agent',
  summary: 'issue an enrolment token for the agents of one cluster',
  about:
    'Prints a token for the agents of one cluster. With it, the broker refuses an agent of any other cluster with 403. ' +
    'Only the token is written to stdout.',
  groups: [{ title: 'Options', table: agentTokenTable }],
  examples: [
    {
      title: 'a token that is valid for 30 days',
      line: 'culvert token agent --cluster prod-1 > prod-1.token',
    },
    {
      title: 'a token in a Kubernetes Secret',
      line: 'culvert token agent --cluster prod-1 --ttl 90d | kubectl create secret generic culvert-agent --from-file=token=/dev/stdin',
    },
  ],
  async run(argv, io) {
    const { values } = readOptions(agentTokenTable, argv, io.env);
    const { cluster } = values;
    return await printToken(io, values, { kind: 'agent', cluster }, [
      `culvert agent --broker-url wss://BROKER --cluster ${cluster} --token-file FILE`,
    ]);
  },
};

export const tokenDialerCommand: Command = {
  name: 'token dialer',
  summary: 'issue an enrolment token for a bridge',
  about:
    'Prints a token for a program that opens streams into clusters, such as `culvert bridge` or `culvert connect`. Only the token is written to stdout.',
  groups: [{ title: 'Options', table: dialerTokenTable }],
  examples: [
    {
      title: 'a token that is valid for 30 days',
      line: 'culvert token dialer --name bridge-1 > bridge-1.token',
    },
    {
      title: 'a token that is valid for one day, for one cluster',
      line: 'culvert token dialer --name ci --cluster prod-1 --ttl 24h > ci.token',
    },
  ],
  async run(argv, io) {
    const { values } = readOptions(dialerTokenTable, argv, io.env);
    const { name, cluster, selector, id } = values;
    const clusters = cluster.length === 0 ? undefined : cluster;
    io.stderr.write(`The id of the token is ${id}.\n`);
    return await printToken(io, values, { kind: 'dialer', name, clusters, selector, id }, [
      'culvert bridge --broker-url wss://BROKER --token-file FILE --konnectivity-listen 127.0.0.1:8090',
    ]);
  },
};

export const tokenGatewayCommand: Command = {
  name: 'token gateway',
  summary: 'issue an enrolment token for a gateway',
  about:
    'Prints a token for `culvert gateway`. With it, agents let the gateway impersonate users and review tokens. Its owner can act ' +
    'as any user of any cluster whose agent allows impersonation. Only the token is written to stdout.',
  groups: [{ title: 'Options', table: gatewayTokenTable }],
  examples: [
    {
      title: 'a token that is valid for 30 days',
      line: 'culvert token gateway --name gateway-1 > gateway-1.token',
    },
    {
      title: 'a token that is valid for one day',
      line: 'culvert token gateway --name gateway-1 --ttl 24h > gateway-1.token',
    },
  ],
  async run(argv, io) {
    const { values } = readOptions(gatewayTokenTable, argv, io.env);
    const { name } = values;
    return await printToken(io, values, { kind: 'dialer', name, isGateway: true }, [
      'culvert gateway --broker-url wss://BROKER --token-file FILE --gateway-listen 127.0.0.1:9092',
    ]);
  },
};

function parseCallerName(text: string): string {
  if (isCallerName(text)) return text;
  throw new ValueError("is not a caller's name (letters, digits and ._:@-, at most 128)");
}

function parseSelector(text: string): string {
  try {
    parseLabelSelector(text);
    return text;
  } catch {
    throw new ValueError('is no label selector, such as env=test or "env in (a,b)"');
  }
}

function parseTokenId(text: string): string {
  if (isTokenId(text)) return text;
  throw new ValueError("is not a token's id (letters, digits and ._:-, at most 128)");
}

async function printToken(
  { stdout, stderr }: CommandIo,
  { key, ttlMs }: { readonly key: string; readonly ttlMs: number },
  subject: TokenSubject,
  next: readonly string[],
): Promise<number> {
  const { issueToken, TokenError } = await import('../base/tokens/enrolment-token.ts');
  const now = new Date();
  try {
    const token = await issueToken(new Secret(await readFile(key, 'utf8')), subject, ttlMs, now);
    stdout.write(`${token.reveal()}\n`);
  } catch (thrown) {
    if (thrown instanceof TokenError) throw new ConfigError([`--key=${key}: ${thrown.message}`]);
    throw thrown;
  }
  const expiry = new Date(now.getTime() + ttlMs).toISOString().slice(0, 16).replace('T', ' ');
  const whose = subject.kind === 'agent' ? `agents of ${subject.cluster}` : subject.name;
  stderr.write(`A token for ${whose}, valid until ${expiry} UTC. Keep it in a file, then:\n`);
  for (const line of next) stderr.write(`  ${line}\n`);
  return 0;
}

async function writeNewFile(path: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(path, text, { flag: 'wx', mode });
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    const reason =
      code === 'EEXIST'
        ? 'exists already, name another file with --key'
        : `cannot be written: ${code}`;
    throw new ConfigError([`${path} ${reason}`]);
  }
}
