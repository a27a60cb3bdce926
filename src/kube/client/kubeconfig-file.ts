import { dirname, resolve } from 'node:path';
import { describeError } from '../../base/error.ts';
import { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import { type Proxy, parseProxyUrl, ProxyUrlError } from '../../base/net/proxy.ts';
import { Secret } from '../../base/secret.ts';
import { type Credentials, ExecCredentials } from './exec-credentials.ts';
import { type ExecPlugin, parseExecPlugin } from './exec-plugin.ts';
import type { KubeConfig, KubeEndpoint } from './kube-endpoint.ts';
import { KubeError } from './kube-error.ts';
import {
  badKubeconfig as bad,
  KubeconfigEntry,
  readKubeconfigPart as readText,
} from './kubeconfig-entry.ts';
import { parseYaml } from './parse-yaml.ts';
import { RereadingConfig, type RereadOptions } from './rereading-config.ts';

/**
 * The parts of a kubeconfig that we read. People and templates write them, so a field may be of any
 * type.
 */
interface Kubeconfig {
  readonly clusters?: readonly NamedEntry[] | null;
  readonly users?: readonly NamedEntry[] | null;
  readonly contexts?: readonly NamedEntry[] | null;
}
interface NamedEntry {
  readonly name?: unknown;
  readonly cluster?: unknown;
  readonly user?: unknown;
  readonly context?: unknown;
}

export interface KubeconfigFileOptions extends RereadOptions {
  /** The context to use (default: the current context). */
  readonly context?: string | undefined;
}

/**
 * One context of a kubeconfig, with the files that it names. Relative paths start at the
 * kubeconfig's folder. All files are read again when they change, because OCM rewrites an agent's
 * kubeconfig whenever its certificate is renewed. Exec plugins are run.
 */
export function kubeconfigFile(path: string, options: KubeconfigFileOptions = {}): KubeConfig {
  const { ca = new LastGoodCa('CA of the kubeconfig'), context } = options;
  const plugins = new ExecCredentials();
  const config = new RereadingConfig(() => read(path, context, plugins, ca), options);
  return {
    endpoint: () => config.endpoint(),
    expire: () => {
      plugins.forget();
      config.expire();
    },
  };
}

async function read(
  path: string,
  contextName: string | undefined,
  plugins: ExecCredentials,
  lastGood: LastGoodCa,
): Promise<KubeEndpoint> {
  const text = await readText(path, path, 'kubeconfig');
  const { context, cluster, user } = pick(parseText(path, text), path, contextName);
  const serverUrl = cluster.text('server');
  const verify = !cluster.flag('insecure-skip-tls-verify');
  const ca = await readCa(path, cluster, lastGood);
  if (ca !== undefined && !verify) {
    throw bad(
      path,
      'its cluster has a certificate authority and insecure-skip-tls-verify: true, remove one of them',
    );
  }
  checkUser(path, user);
  return {
    server: urlOf(path, serverUrl),
    ca,
    serverName: cluster.text('tls-server-name'),
    verify,
    proxy: proxyOf(path, cluster.text('proxy-url')),
    namespace: context.text('namespace'),
    ...(user.has('exec')
      ? await pluginCredentials(path, parseExecPlugin(path, user, cluster, ca), plugins)
      : await credentialsOf(path, user)),
  };
}

async function pluginCredentials(
  path: string,
  plugin: ExecPlugin,
  plugins: ExecCredentials,
): Promise<Credentials> {
  try {
    return await plugins.get(plugin);
  } catch (cause) {
    const message = `the plugin of the user in kubeconfig ${path} gave no credentials; run it by hand`;
    throw new KubeError('bad_config', message, { cause });
  }
}

/**
 * @throws KubeError `bad_config` for credentials that client-go or the API server would not take
 */
function checkUser(path: string, user: KubeconfigEntry): void {
  for (const field of ['as', 'as-uid', 'as-groups', 'as-user-extra']) {
    if (!user.has(field)) continue;
    throw bad(
      path,
      `its user impersonates another (${field}), which is not supported; name that user itself`,
    );
  }
  if (user.has('username') || user.has('password')) {
    throw bad(
      path,
      'its user has username and password, which Kubernetes does not accept since 1.19; use a token or a client certificate',
    );
  }
  if (user.has('auth-provider')) {
    throw bad(
      path,
      'its user has an auth-provider, which is not supported (Kubernetes 1.26 removed gcp and azure); use an exec plugin',
    );
  }
}

async function credentialsOf(path: string, user: KubeconfigEntry): Promise<Credentials> {
  const cert = await user.pem('client-certificate', 'client certificate');
  const key = await user.pem('client-key', 'client key');
  if ((cert === undefined) !== (key === undefined)) {
    throw bad(path, 'its user has a client certificate or a client key, both are needed');
  }
  const token = await tokenOf(path, user);
  return {
    certificate: cert === undefined ? undefined : { cert, key: new Secret(key!) },
    token: token === undefined ? undefined : new Secret(token),
  };
}

/**
 * As in client-go, `tokenFile` has precedence. `token` is used while the file cannot be read or is
 * empty.
 */
async function tokenOf(path: string, user: KubeconfigEntry): Promise<string | undefined> {
  const token = user.text('token')?.trim();
  const file = user.text('tokenFile');
  if (file === undefined) return token;
  try {
    const fromFile = (await readText(resolve(dirname(path), file), path, 'token')).trim();
    if (fromFile !== '') return fromFile;
  } catch (thrown) {
    if (token === undefined) throw thrown;
  }
  if (token !== undefined) return token;
  throw bad(path, `the token file ${file} of its user is empty; write the token into it`);
}

/**
 * Undefined if the kubeconfig names no CA. An empty file is an error, because client-go would then
 * trust every public CA.
 */
async function readCa(
  path: string,
  cluster: KubeconfigEntry,
  lastGood: LastGoodCa,
): Promise<string | undefined> {
  const file = cluster.text('certificate-authority');
  const hasData = cluster.has('certificate-authority-data');
  if (!hasData && file === undefined) return undefined;
  const data = hasData ? await cluster.pem('certificate-authority', 'CA') : undefined;
  try {
    if (data !== undefined) return lastGood.take(data, `${path} (certificate-authority-data)`);
    return await lastGood.readFile(resolve(dirname(path), file!));
  } catch (cause) {
    throw bad(path, describeError(cause));
  }
}

function parseText(path: string, text: string): Kubeconfig {
  let parsed: unknown;
  try {
    parsed = parseYaml(text);
  } catch {
    // The parser's message quotes the line, which may be a key.
    throw bad(path, 'it is not YAML; write it again');
  }
  const lists = parsed as { readonly [list in 'clusters' | 'users' | 'contexts']?: unknown } | null;
  const areNamed = (list: unknown) =>
    Array.isArray(list) && list.every((entry) => typeof entry === 'object' && entry !== null);
  const hasLists = [lists?.clusters, lists?.users ?? [], lists?.contexts ?? []].every(areNamed);
  if (hasLists) return parsed as Kubeconfig;
  throw bad(path, 'it has no list of clusters; is it a kubeconfig?');
}

function pick(config: Kubeconfig, path: string, wantedContext: string | undefined) {
  const current = new KubeconfigEntry(path, 'top level', config).text('current-context');
  const name = wantedContext ?? current;
  if (name === undefined)
    throw bad(path, 'it names no current-context; set one: kubectl config use-context');
  const named = (list: readonly NamedEntry[] | null | undefined, wanted: unknown) =>
    list?.find((entry) => entry.name === wanted);
  const entryOf = (what: string, fields: unknown) => new KubeconfigEntry(path, what, fields);
  const foundContext = named(config.contexts, name);
  if (foundContext === undefined) {
    const what = wantedContext === undefined ? 'its current-context' : 'the context';
    throw bad(path, `${what} ${name} is not in it`);
  }
  const context = entryOf('context', foundContext.context);
  const clusterName = context.text('cluster');
  const foundCluster = named(config.clusters, clusterName);
  if (foundCluster === undefined) {
    throw bad(path, `the cluster ${clusterName} of its context ${name} is not in it`);
  }
  const userName = context.text('user');
  const foundUser = userName === undefined ? undefined : named(config.users, userName);
  if (foundUser === undefined && userName !== undefined) {
    throw bad(path, `the user ${userName} of its context ${name} is not in it`);
  }
  return {
    context,
    cluster: entryOf('cluster', foundCluster.cluster),
    user: entryOf('user', foundUser?.user),
  };
}

function urlOf(path: string, text: string | undefined): URL {
  const url = URL.parse(text ?? '');
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url;
  throw bad(path, 'server of its cluster is not a URL that begins with https:// or http://');
}

/** In client-go the proxy resolves names with `socks5://` too. */
function proxyOf(path: string, text: string | undefined): Proxy | undefined {
  if (text === undefined) return undefined;
  try {
    const proxy = parseProxyUrl(text);
    return proxy.scheme === 'socks5' ? { ...proxy, scheme: 'socks5h' } : proxy;
  } catch (thrown) {
    if (!(thrown instanceof ProxyUrlError)) throw thrown;
    // The URL of a proxy may hold a password, so the message does not repeat it.
    throw bad(path, `proxy-url of its cluster ${thrown.message}`);
  }
}
