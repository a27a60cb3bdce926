import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { isLoopback } from '../base/net/host-port.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { ConfigError } from '../base/options/option-problems.ts';
import { type OptionsDraft, readOptions } from '../base/options/read-options.ts';
import { checkTogether } from '../base/options/check-together.ts';
import { clusterVariable, withCluster } from './cluster-variable.ts';
import { readCredentialOptions } from './credential.ts';
import { hubAccessTable } from './hub-access.ts';

export const kubeconfigClustersTable = {
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    repeatable: true,
    help: 'A cluster to write a context for. Default: the accepted ManagedClusters of the hub, which the user must be allowed to list.',
  },
  selector: {
    name: 'selector',
    kind: 'string',
    placeholder: 'LABELS',
    help: 'Only ManagedClusters with these labels, such as env=prod,region in (eu,us).',
  },
  ...hubAccessTable,
} as const satisfies OptionsTable;

export const kubeconfigAddressTable = {
  url: {
    name: 'url',
    kind: 'url',
    protocols: ['https:', 'http:', 'socks5:'],
    required: true,
    help: 'The URL of the gateway. With --form proxy: the URL of a bridge (http://, https:// or socks5://).',
  },
  addressForm: {
    name: 'form',
    kind: 'choice',
    choices: ['path', 'host', 'proxy'],
    default: 'path',
    help: 'How an address names the cluster. path: https://HOST/CLUSTER. host: https://CLUSTER.HOST, for programs that accept no path. proxy: the URL is the proxy-url, and TLS ends at the kube-apiserver of the cluster.',
  },
  caFile: {
    name: 'ca-file',
    kind: 'file',
    holdsCasOf: 'servers',
    help: 'CA certificates (PEM) for the certificate of --url. They are copied into the kubeconfig. Default: the well-known CAs.',
  },
  clusterCaFile: {
    name: 'cluster-ca-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'With --form proxy: the CA certificates of the kube-apiserver. {cluster} in the path becomes the name of the cluster. Default: the CA that the ManagedCluster on the hub names.',
  },
} as const satisfies OptionsTable;

export const kubeconfigUserTable = {
  user: {
    name: 'user',
    kind: 'string',
    placeholder: 'NAME',
    help: 'A user that the kubeconfig has already. Exactly one kind of user must be chosen.',
  },
  userToken: {
    name: 'user-token',
    kind: 'string',
    secret: true,
    envOnly: true,
    help: 'A bearer token to write into the kubeconfig. There is no flag for it, because other users of a machine can read command lines.',
  },
  userTokenFile: {
    name: 'user-token-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A file with a bearer token. kubectl reads the file itself. {cluster} in the path becomes the name of the cluster.',
  },
  userCertificateFile: {
    name: 'user-certificate-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A client certificate (PEM). kubectl reads the file itself. {cluster} in the path becomes the name of the cluster.',
  },
  userKeyFile: {
    name: 'user-key-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'The private key (PEM) of --user-certificate-file.',
  },
  execArg: {
    name: 'exec-arg',
    kind: 'string',
    placeholder: 'ARG',
    repeatable: true,
    help: 'An argument of `culvert credential`, which kubectl then runs to get a token, such as --exec-arg=--managed-serviceaccount=reader.',
  },
  execCommand: {
    name: 'exec-command',
    kind: 'string',
    placeholder: 'FILE',
    default: 'culvert',
    help: 'The program for --exec-arg: a name in PATH, or a path.',
  },
} as const satisfies OptionsTable;

export const kubeconfigOutputTable = {
  output: {
    name: 'output',
    kind: 'string',
    placeholder: 'FILE',
    help: 'The kubeconfig to change. Default: the files in KUBECONFIG, or ~/.kube/config.',
  },
  stdout: {
    name: 'stdout',
    kind: 'boolean',
    help: 'Prints a kubeconfig with these contexts alone, and changes no file.',
  },
  contextName: {
    name: 'context-name',
    kind: 'parsed',
    parse: (text) => text,
    placeholder: 'NAME',
    default: clusterVariable,
    help: 'The name of a context, its cluster and its user. {cluster} becomes the name of the cluster.',
  },
  force: {
    name: 'force',
    kind: 'boolean',
    help: 'Replaces entries of these names that this command did not write. Without it, they stop the command.',
  },
  prune: {
    name: 'prune',
    kind: 'boolean',
    help: 'Removes the contexts that this command wrote for --url and whose clusters are not on the hub any more.',
  },
  dryRun: {
    name: 'dry-run',
    kind: 'boolean',
    help: 'Lists the changes and writes nothing.',
  },
} as const satisfies OptionsTable;

const allTable = {
  ...kubeconfigClustersTable,
  ...kubeconfigAddressTable,
  ...kubeconfigUserTable,
  ...kubeconfigOutputTable,
} as const;

export type KubeconfigOptions = OptionsOf<typeof allTable>;

/** Reads the options of `culvert kubeconfig`. @throws ConfigError with all problems together */
export function readKubeconfigOptions(argv: readonly string[], env: Env): KubeconfigOptions {
  return readOptions(allTable, argv, env, (draft) => {
    checkAddress(draft);
    checkUser(draft);
    checkClusters(draft);
  }).values;
}

type Draft = OptionsDraft<typeof allTable>;

function checkAddress({ values: { url, addressForm: form }, given, label, problem }: Draft): void {
  if (given('clusterCaFile') && form !== 'proxy') {
    problem(`${label('clusterCaFile')} is for --form proxy, where TLS ends at the cluster`);
  }
  if (url === undefined || form === undefined) return;
  const shown = `${label('url')}=${url.protocol}//${url.host}`;
  if (form === 'proxy') {
    if (url.pathname.length > 1) problem(`${shown} is a proxy, remove the path`);
    return;
  }
  if (url.search !== '' || url.hash !== '')
    problem(`${shown} has a query or a fragment, remove it`);
  if (url.protocol === 'socks5:') problem(`${shown} is a proxy, add --form proxy`);
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    problem(`${shown} would send tokens unencrypted, use https:// (http:// is for loopback)`);
  }
  if (form === 'host') {
    if (url.pathname.length > 1) problem(`${shown} has a path, but with --form host it has none`);
    if (isIP(url.hostname.replace(/^\[|\]$/g, '')) !== 0) {
      problem(
        `${shown} is an address, but --form host needs a name under which clusters have names`,
      );
    }
  }
}

function checkUser(draft: Draft): void {
  const { values, given, label, problem } = draft;
  const kinds = [
    ...(['user', 'userToken', 'userTokenFile', 'userCertificateFile', 'execArg'] as const),
  ];
  const chosen = kinds.filter((key) => given(key));
  if (chosen.length === 0) {
    problem(`no user is chosen: give one of ${kinds.map((key) => label(key)).join(', ')}`);
  } else if (chosen.length > 1) {
    problem(`${chosen.map((key) => label(key)).join(' and ')} name different users, keep one`);
  }
  checkTogether(draft, 'userCertificateFile', 'userKeyFile');
  if (given('execArg')) checkExecArgs(values.execArg ?? [], label('execArg'), problem);
  if (given('execCommand') && !given('execArg')) {
    problem(`${label('execCommand')} needs ${label('execArg')} as well`);
  }
  if (
    given('userCertificateFile') &&
    values.addressForm === 'path' &&
    values.url?.protocol === 'http:'
  ) {
    problem(`${label('userCertificateFile')} is for TLS, but ${label('url')} has none`);
  }
}

/** Reports now what kubectl would report at each call. */
function checkExecArgs(
  args: readonly string[],
  label: string,
  problem: (sentence: string) => void,
): void {
  try {
    // The kubeconfig may be for a pod, where no option names the hub.
    readCredentialOptions(args, { KUBERNETES_SERVICE_HOST: 'hub' });
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    for (const sentence of thrown.problems) problem(`${label}: ${sentence}`);
  }
}

function checkClusters({ values, given, label, problem }: Draft): void {
  for (const key of ['selector', 'prune'] as const) {
    if (!given(key) || values[key] === false || !given('cluster')) continue;
    problem(`${label(key)} needs the list of the hub, so it does not go with ${label('cluster')}`);
  }
  for (const key of ['prune', 'output', 'dryRun'] as const) {
    if (!values.stdout || !given(key) || values[key] === false) continue;
    problem(`${label('stdout')} changes no file, so ${label(key)} does not go with it`);
  }
  const { contextName, cluster } = values;
  const hasVariable = contextName?.includes(clusterVariable) ?? true;
  if (!hasVariable && cluster?.length !== 1) {
    problem(
      `${label('contextName')} needs ${clusterVariable}, because there can be several clusters`,
    );
  }
}

/** The absolute path of a file for a cluster. The kubeconfig may lie in another folder. */
export function pathFor(text: string, cluster: string): string {
  return resolve(withCluster(text, cluster));
}
