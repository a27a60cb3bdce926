import { ConfigError } from '../base/options/option-problems.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { readOptions } from '../base/options/read-options.ts';
import { isDnsLabel } from '../base/names/cluster-name.ts';
import { ValueError } from '../base/value-error.ts';
import { withCluster } from './cluster-variable.ts';
import type { Command, CommandIo } from './command.ts';
import { hubAccessTable, openHub } from './hub-access.ts';

const credentialClusterTable = {
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    help: 'The cluster that the token is for. Default: the cluster that the client names, if its kubeconfig has provideClusterInfo: true.',
  },
} as const satisfies OptionsTable;

const credentialSourceTable = {
  bearerTokenFile: {
    name: 'bearer-token-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A file with the token, which another program writes. {cluster} in the path becomes the name of the cluster.',
  },
  managedServiceAccount: {
    name: 'managed-serviceaccount',
    kind: 'string',
    placeholder: 'NAME',
    help: 'A ManagedServiceAccount of the cluster. The token is in the Secret of this name in the namespace of the cluster on the hub.',
  },
  secretNamespace: {
    name: 'secret-namespace',
    kind: 'dnsLabel',
    help: 'With --managed-serviceaccount: the namespace of ClusterProfiles to which OCM copies such Secrets, as CLUSTER-NAME.',
  },
  serviceAccount: {
    name: 'service-account',
    kind: 'parsed',
    parse: parseServiceAccount,
    placeholder: 'NAMESPACE/NAME',
    help: 'A ServiceAccount of the hub, for which the hub issues a token. {cluster} becomes the name of the cluster.',
  },
  audience: {
    name: 'audience',
    kind: 'string',
    repeatable: true,
    help: 'With --service-account: an audience of the token. Default: the API server of the hub.',
  },
  ttlMs: {
    name: 'ttl',
    kind: 'durationMs',
    min: 600_000,
    default: '1h',
    help: 'With --service-account: how long the token is valid. The hub can shorten it.',
  },
} as const satisfies OptionsTable;

const allTable = {
  ...credentialClusterTable,
  ...credentialSourceTable,
  ...hubAccessTable,
} as const;

/** Reads the options of `culvert credential`. @throws ConfigError with all problems together */
export function readCredentialOptions(
  argv: readonly string[],
  env: Env,
): OptionsOf<typeof allTable> {
  return readOptions(allTable, argv, env, ({ values, given, label, problem }) => {
    const kinds = ['bearerTokenFile', 'managedServiceAccount', 'serviceAccount'] as const;
    const chosen = kinds.filter((key) => given(key));
    if (chosen.length !== 1) {
      const names = (chosen.length === 0 ? kinds : chosen).map((key) => label(key));
      const advice = chosen.length === 0 ? 'no token is named, give one of' : 'keep one of';
      problem(`${advice} ${names.join(', ')}`);
    }
    if (given('secretNamespace') && !given('managedServiceAccount')) {
      problem(`${label('secretNamespace')} needs ${label('managedServiceAccount')} as well`);
    }
    if (given('audience') && !given('serviceAccount')) {
      problem(`${label('audience')} needs ${label('serviceAccount')} as well`);
    }
    // The current context may be the one whose plugin this is, and would run it again.
    const hasHub = given('hubKubeconfig') || given('hubContext') || env['KUBERNETES_SERVICE_HOST'];
    if (!hasHub && values.bearerTokenFile === undefined && chosen.length === 1) {
      problem(`${label(chosen[0]!)} needs --hub-kubeconfig or --hub-context outside a pod`);
    }
  }).values;
}

export const credentialCommand: Command = {
  name: 'credential',
  summary: 'print a token for a cluster, as an exec plugin of kubectl and ClusterProfile clients',
  about:
    'Prints an ExecCredential (client.authentication.k8s.io/v1 or v1beta1) with a token for a managed cluster. kubectl and ' +
    'client-go run it as an exec plugin and keep the token until it expires. Programs that read ClusterProfiles run it as ' +
    'the plugin of the access provider open-cluster-management.',
  groups: [
    { title: 'The cluster', table: credentialClusterTable },
    { title: 'The token', table: credentialSourceTable },
    { title: 'The hub', table: hubAccessTable },
  ],
  examples: [
    {
      title: 'the token of a ManagedServiceAccount, in a pod on the hub',
      line: 'culvert credential --cluster prod-1 --managed-serviceaccount reader',
    },
    {
      title: 'a token of a ServiceAccount of the hub',
      line: 'culvert credential --cluster prod-1 --service-account team-a/deployer --hub-context hub',
    },
  ],
  async run(argv, io) {
    const options = readCredentialOptions(argv, io.env);
    const { readExecInfo, execInfoVariable } = await import('../kube/exec-credential/exec-info.ts');
    const { execCredential } = await import('../kube/exec-credential/exec-credential.ts');
    const info = readExecInfo(io.env[execInfoVariable]);
    const cluster = options.cluster ?? info.clusterName;
    if (cluster === undefined) {
      throw new ConfigError([
        'the cluster is not known: give --cluster, or set provideClusterInfo: true in the kubeconfig ' +
          'of a cluster with the extension client.authentication.k8s.io/exec',
      ]);
    }
    const token = await tokenFor(cluster, options, io);
    io.stdout.write(`${execCredential(info.apiVersion, token, new Date())}\n`);
    return 0;
  },
};

async function tokenFor(cluster: string, options: OptionsOf<typeof allTable>, { env }: CommandIo) {
  const { bearerTokenFile, managedServiceAccount, serviceAccount, secretNamespace } = options;
  const sources = await import('../kube/exec-credential/token-sources.ts');
  const named = (text: string) => withCluster(text, cluster);
  if (bearerTokenFile !== undefined) return await sources.tokenFromFile(named(bearerTokenFile));
  const hub = await openHub(options, env);
  try {
    if (serviceAccount !== undefined) {
      const { audience: audiences, ttlMs } = options;
      const namespace = named(serviceAccount.namespace);
      const name = named(serviceAccount.name);
      return await sources.tokenOfServiceAccount(hub, { namespace, name, audiences, ttlMs });
    }
    const secret =
      secretNamespace === undefined
        ? { namespace: cluster, name: managedServiceAccount! }
        : { namespace: secretNamespace, name: `${cluster}-${managedServiceAccount}` };
    return await sources.tokenOfSecret(hub, secret);
  } finally {
    hub.close();
  }
}

function parseServiceAccount(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = '', ...rest] = text.split('/');
  const isName = (part: string) => isDnsLabel(withCluster(part, 'c').replaceAll('.', '-'));
  if (rest.length === 0 && isName(namespace) && isName(name)) return { namespace, name };
  throw new ValueError('is not NAMESPACE/NAME of a ServiceAccount');
}
