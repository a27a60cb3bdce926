import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isClusterName } from '../base/names/cluster-name.ts';
import { ConfigError } from '../base/options/option-problems.ts';
import type { Env } from '../base/options/option-table.ts';
import { readCaCertificates } from '../base/tls/ca-certificates.ts';
import { describeError } from '../base/error.ts';
import {
  type ClusterAddress,
  type ClusterContext,
  type ContextUser,
  entriesFor,
  gatewayOf,
} from '../kube/kubeconfig/cluster-entries.ts';
import { KubeconfigDocument } from '../kube/kubeconfig/kubeconfig-document.ts';
import { type KubeconfigFiles, readKubeconfigs } from '../kube/kubeconfig/kubeconfig-files.ts';
import { kubeconfigPaths } from '../kube/kubeconfig/kubeconfig-paths.ts';
import { mergeEntries } from '../kube/kubeconfig/merge-entries.ts';
import { withCluster } from './cluster-variable.ts';
import type { CommandIo } from './command.ts';
import { homeDirectory, openHub } from './hub-access.ts';
import { type HubClusters, listHubClusters } from './hub-clusters.ts';
import { type KubeconfigOptions, pathFor } from './kubeconfig-options.ts';

/**
 * Writes the contexts that the options of `culvert kubeconfig` describe.
 *
 * @returns the exit code
 * @throws ConfigError entries that this command did not write are in the way, or a file is missing
 */
export async function writeContexts(options: KubeconfigOptions, io: CommandIo): Promise<number> {
  const clusters = await findClusters(options, io);
  const address = await addressOf(options);
  const contexts = await Promise.all(
    clusters.chosen.map(({ name, ca }) => contextFor(options, name, ca)),
  );
  const entries = contexts.flatMap((context) => entriesFor(address, context));
  if (options.stdout) {
    const document = new KubeconfigDocument('stdout', '');
    mergeEntries([document], document, entries, { force: false });
    io.stdout.write(document.text);
    return 0;
  }
  const files = await readKubeconfigs(pathsOf(options, io.env));
  checkExistingUser(options, files);
  const { changes, refused } = mergeEntries(files.documents, files.target, entries, {
    force: options.force,
    prune: options.prune ? { gateway: gatewayOf(options.url), clusters: clusters.all } : undefined,
  });
  if (refused.length > 0) {
    throw new ConfigError([
      `not written, because this command did not write ${refused.join(', ')}: choose other names with --context-name, or add --force`,
    ]);
  }
  for (const { context, change } of changes) {
    if (change !== 'unchanged') io.stdout.write(`${context} ${change}\n`);
  }
  const paths = options.dryRun ? [] : await files.write();
  const unchanged = changes.filter(({ change }) => change === 'unchanged').length;
  const written = options.dryRun
    ? 'dry run, nothing is written'
    : paths.length === 0
      ? 'nothing to change'
      : `written to ${paths.join(', ')}`;
  io.stderr.write(`${changes.length} contexts, ${unchanged} of them unchanged; ${written}\n`);
  return 0;
}

async function findClusters(options: KubeconfigOptions, io: CommandIo): Promise<HubClusters> {
  if (options.cluster.length > 0) {
    const chosen = options.cluster.map((name) => ({ name, ca: undefined }));
    return { chosen, all: new Set(options.cluster) };
  }
  const hub = await openHub(options, io.env);
  try {
    const found = await listHubClusters(hub, options.selector);
    const chosen = found.chosen.filter(({ name }) => isClusterName(name));
    for (const { name } of found.chosen) {
      if (isClusterName(name)) continue;
      io.stderr.write(
        `${name} is left out, because a cluster behind culvert has a name without dots\n`,
      );
    }
    if (chosen.length === 0) {
      const which = options.selector === undefined ? '' : ` with the labels ${options.selector}`;
      io.stderr.write(`the hub has no accepted ManagedCluster${which}\n`);
    }
    return { chosen, all: found.all };
  } finally {
    hub.close();
  }
}

async function addressOf({
  addressForm: form,
  url,
  caFile,
}: KubeconfigOptions): Promise<ClusterAddress> {
  const ca = caFile === undefined ? undefined : await readCas('--ca-file', caFile);
  return { form, url, ca };
}

async function contextFor(
  options: KubeconfigOptions,
  cluster: string,
  caOfHub: string | undefined,
): Promise<ClusterContext> {
  const context = withCluster(options.contextName, cluster);
  return { cluster, context, user: userFor(options, cluster), clusterCa: await clusterCaOf() };

  async function clusterCaOf(): Promise<string | undefined> {
    if (options.addressForm !== 'proxy') return undefined;
    const { clusterCaFile } = options;
    if (clusterCaFile !== undefined) {
      return await readCas('--cluster-ca-file', pathFor(clusterCaFile, cluster));
    }
    if (caOfHub !== undefined) return caOfHub;
    throw new ConfigError([
      `the CA of the kube-apiserver of ${cluster} is not known, name a file with --cluster-ca-file`,
    ]);
  }
}

function userFor(options: KubeconfigOptions, cluster: string): ContextUser {
  if (options.user !== undefined) return { kind: 'existing', name: options.user };
  return { kind: 'written', fields: userFields(options, cluster) };
}

function userFields(
  options: KubeconfigOptions,
  cluster: string,
): Readonly<Record<string, unknown>> {
  const { userToken, userTokenFile, userCertificateFile, userKeyFile, execCommand } = options;
  if (userToken !== undefined) return { token: userToken.reveal() };
  if (userTokenFile !== undefined) return { tokenFile: pathFor(userTokenFile, cluster) };
  if (userCertificateFile !== undefined) {
    return {
      'client-certificate': pathFor(userCertificateFile, cluster),
      'client-key': pathFor(userKeyFile!, cluster),
    };
  }
  return {
    exec: {
      apiVersion: 'client.authentication.k8s.io/v1',
      // Clients look for a path in the folder of the kubeconfig.
      command: execCommand.includes('/') ? resolve(execCommand) : execCommand,
      args: ['credential', ...options.execArg, ...hubArgs(options)],
      interactiveMode: 'Never',
      provideClusterInfo: true,
      installHint: 'culvert credential gets tokens for clusters behind culvert: install culvert.',
    },
  };
}

/** The plugin asks the same hub. It has no default, because it may be the current context's own. */
function hubArgs({ execArg, hubKubeconfig, hubContext }: KubeconfigOptions): readonly string[] {
  const isGiven = execArg.some((arg) => arg.startsWith('--hub-'));
  if (isGiven) return [];
  return [
    ...(hubKubeconfig === undefined ? [] : [`--hub-kubeconfig=${resolve(hubKubeconfig)}`]),
    ...(hubContext === undefined ? [] : [`--hub-context=${hubContext}`]),
  ];
}

function pathsOf({ output }: KubeconfigOptions, env: Env): readonly string[] {
  return output === undefined ? kubeconfigPaths(env, homeDirectory(env)) : [output];
}

function checkExistingUser({ user }: KubeconfigOptions, { documents }: KubeconfigFiles): void {
  if (user === undefined || documents.some((document) => document.has('users', user))) return;
  const where = documents.map(({ path }) => path).join(', ');
  throw new ConfigError([
    `--user=${user} is not in ${where}; kubectl config set-credentials adds it`,
  ]);
}

async function readCas(flag: string, path: string): Promise<string> {
  try {
    return readCaCertificates(await readFile(path, 'utf8'), 'servers');
  } catch (thrown) {
    throw new ConfigError([`${flag}=${path} cannot be used: ${describeError(thrown)}`]);
  }
}
