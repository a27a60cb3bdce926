import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { describeError } from '../base/error.ts';
import { LastGoodCa } from '../base/last-good-ca.ts';
import { Secret } from '../base/secret.ts';
import type { ClientCertificate, KubeConfig, KubeEndpoint } from './kube-endpoint.ts';
import { KubeError } from './kube-error.ts';
import type { PluginCredentials } from './plugin-credentials.ts';
import { RereadingConfig, type RereadOptions } from './rereading-config.ts';

/** The parts of a kubeconfig that we read; what a person wrote may be anything. */
interface Kubeconfig {
  readonly clusters?: readonly { readonly name: string; readonly cluster?: Cluster }[];
  readonly users?: readonly { readonly name: string; readonly user?: User }[];
  readonly contexts?: readonly { readonly name: string; readonly context?: Context }[];
  readonly 'current-context'?: string;
}
interface Context {
  readonly cluster?: string;
  readonly user?: string;
  readonly namespace?: string;
}
interface Cluster {
  readonly server?: string;
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  readonly 'tls-server-name'?: string;
  readonly 'proxy-url'?: string;
}
interface User {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly 'client-certificate'?: string;
  readonly 'client-certificate-data'?: string;
  readonly 'client-key'?: string;
  readonly 'client-key-data'?: string;
  readonly exec?: object;
  readonly 'auth-provider'?: object;
  readonly as?: string;
}

/**
 * The current context of a kubeconfig, with the files that it names (relative ones lie beside it). All are read again when they change:
 * OCM rewrites an agent's whenever its certificate is renewed. Users with an exec plugin or an auth provider work too.
 */
export function kubeconfigFile(path: string, options: RereadOptions = {}): KubeConfig {
  let plugin: PluginCredentials | undefined;
  const askPlugin: AskPlugin = async (text) => {
    try {
      // It brings @kubernetes/client-node, 0.4 s and 83 MiB: only those wait for it who need its plugins.
      const { PluginCredentials } = await import('./plugin-credentials.ts');
      if (plugin?.text !== text) plugin = new PluginCredentials(path, text);
      return await plugin.get();
    } catch (cause) {
      const message = `the plugin of the user in kubeconfig ${path} gave no credentials; run it by hand`;
      throw new KubeError('bad_config', message, { cause });
    }
  };
  const { ca = new LastGoodCa('CA of the kubeconfig') } = options;
  return new RereadingConfig(() => read(path, askPlugin, ca), options);
}

type Credentials = Pick<KubeEndpoint, 'certificate' | 'token'>;
type AskPlugin = (text: string) => Promise<Credentials>;

async function read(
  path: string,
  askPlugin: AskPlugin,
  lastGood: LastGoodCa,
): Promise<KubeEndpoint> {
  const text = await readText(path, path, 'kubeconfig');
  const { context, cluster, user } = pick(parseText(path, text), path);
  const near = (file: string) => resolve(dirname(path), file);
  const textOf = async (data: string | undefined, file: string | undefined, what: string) => {
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    return file === undefined ? undefined : readText(near(file), path, what);
  };
  if (user.as !== undefined) {
    throw bad(path, `its user acts as ${user.as}, which is not supported; name a user of its own`);
  }
  const needsPlugin = user.exec !== undefined || user['auth-provider'] !== undefined;
  const cert = await textOf(
    user['client-certificate-data'],
    user['client-certificate'],
    'client certificate',
  );
  const key = await textOf(user['client-key-data'], user['client-key'], 'client key');
  if ((cert === undefined) !== (key === undefined)) {
    throw bad(path, 'its user has a client certificate or a client key, both are needed');
  }
  const certificate: ClientCertificate | undefined =
    cert === undefined ? undefined : { cert, key: new Secret(key!) };
  const token = user.token ?? (await textOf(undefined, user.tokenFile, 'token'))?.trim();
  const own = { certificate, token: token === undefined ? undefined : new Secret(token) };
  return {
    server: urlOf(path, 'server', cluster.server, ['https:', 'http:'])!,
    ca: await readCa(path, cluster, lastGood),
    serverName: cluster['tls-server-name'],
    verify: cluster['insecure-skip-tls-verify'] !== true,
    proxy: urlOf(path, 'proxy-url', cluster['proxy-url'], ['http:', 'https:']),
    namespace: context.namespace,
    ...(needsPlugin ? await askPlugin(text) : own),
  };
}

/** Undefined where the kubeconfig names none. An empty file is an error: client-go would trust every public CA. */
async function readCa(
  path: string,
  cluster: Cluster,
  lastGood: LastGoodCa,
): Promise<string | undefined> {
  const data = cluster['certificate-authority-data'];
  const file = cluster['certificate-authority'];
  try {
    if (data !== undefined) {
      const text = Buffer.from(data, 'base64').toString('utf8');
      return lastGood.take(text, `${path} (certificate-authority-data)`);
    }
    return file === undefined ? undefined : await lastGood.readFile(resolve(dirname(path), file));
  } catch (cause) {
    throw bad(path, describeError(cause));
  }
}

function parseText(path: string, text: string): Kubeconfig {
  let parsed: unknown;
  try {
    parsed = parse(text);
  } catch {
    // The parser's sentence quotes the line, and in a kubeconfig that may be a key.
    throw bad(path, 'it is not YAML; write it anew');
  }
  const lists = parsed as { readonly [list in 'clusters' | 'users' | 'contexts']?: unknown } | null;
  const areNamed = (list: unknown) =>
    Array.isArray(list) && list.every((entry) => typeof entry === 'object' && entry !== null);
  const hasLists = [lists?.clusters, lists?.users ?? [], lists?.contexts ?? []].every(areNamed);
  if (hasLists) return parsed as Kubeconfig;
  throw bad(path, 'it has no list of clusters; is it a kubeconfig?');
}

function pick(config: Kubeconfig, path: string) {
  const name = config['current-context'];
  if (!name) throw bad(path, 'it names no current-context; set one: kubectl config use-context');
  const context = config.contexts?.find((entry) => entry.name === name)?.context;
  if (context === undefined) throw bad(path, `its current-context ${name} is not in it`);
  const cluster = config.clusters?.find((entry) => entry.name === context.cluster)?.cluster;
  if (cluster === undefined) {
    throw bad(path, `the cluster ${context.cluster} of its context ${name} is not in it`);
  }
  const user = config.users?.find((entry) => entry.name === context.user)?.user;
  if (user === undefined && context.user) {
    throw bad(path, `the user ${context.user} of its context ${name} is not in it`);
  }
  return { context, cluster, user: user ?? {} };
}

function urlOf(path: string, field: string, text: string | undefined, protocols: string[]) {
  if (text === undefined && field !== 'server') return undefined;
  const url = URL.parse(text ?? '');
  if (url !== null && protocols.includes(url.protocol)) return url;
  // Not repeated: a proxy's URL may hold a password.
  const schemes = protocols.map((protocol) => `${protocol}//`).join(' or ');
  throw bad(path, `${field} of its cluster is no URL that begins with ${schemes}`);
}

async function readText(file: string, kubeconfig: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const named = file === kubeconfig ? `the kubeconfig ${file}` : `the ${what} ${file}`;
    throw new KubeError('bad_config', `${named} cannot be read; check path and owner`, { cause });
  }
}

function bad(path: string, problem: string): KubeError {
  return new KubeError('bad_config', `the kubeconfig ${path} cannot be used: ${problem}`);
}
