import { spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { badKubeconfig, type KubeconfigEntry } from './kubeconfig-entry.ts';

/** A program named by a kubeconfig's user that prints credentials, as client-go defines it. */
export interface ExecPlugin {
  /** `client.authentication.k8s.io/v1`, or `/v1beta1`. The program answers in the same version. */
  readonly apiVersion: string;
  /** An absolute path, or a name that is looked up in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** The cluster, for a plugin with `provideClusterInfo: true`. */
  readonly cluster: Readonly<Record<string, unknown>> | undefined;
  /** How to install the program, in the words of the kubeconfig's author. */
  readonly installHint: string | undefined;
}

/** A plugin that answers later than this is killed. It may have to ask a server of its own. */
const defaultTimeoutMs = 60_000;
const maxOutputBytes = 1024 * 1024;
const versions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];
const clusterFields = ['server', 'tls-server-name', 'insecure-skip-tls-verify', 'proxy-url'];
const clusterExtension = 'client.authentication.k8s.io/exec';

/**
 * Reads the field `exec` of a user.
 *
 * @param path of the kubeconfig. A command with a slash is relative to its folder, as in client-go.
 * @param ca PEM, for `provideClusterInfo`
 * @throws KubeError `bad_config`
 */
export function parseExecPlugin(
  path: string,
  user: KubeconfigEntry,
  cluster: KubeconfigEntry,
  ca: string | undefined,
): ExecPlugin {
  const exec = user.entry('exec', 'exec plugin');
  const apiVersion = exec.text('apiVersion') ?? '';
  if (!versions.includes(apiVersion)) {
    throw badKubeconfig(path, `apiVersion of its exec plugin must be ${versions.join(' or ')}`);
  }
  const command = exec.text('command');
  if (command === undefined) throw badKubeconfig(path, 'its exec plugin has no command');
  if (exec.text('interactiveMode') === 'Always') {
    throw badKubeconfig(
      path,
      'its exec plugin asks questions (interactiveMode: Always), but culvert has no terminal; use a plugin that does not',
    );
  }
  const env = exec.entries('env', 'exec plugin').map((entry) => {
    const name = entry.text('name');
    if (name !== undefined) return [name, entry.text('value') ?? ''];
    throw badKubeconfig(path, 'an env entry of its exec plugin has no name');
  });
  return {
    apiVersion,
    command: command.includes('/') ? resolve(dirname(path), command) : command,
    args: exec.texts('args'),
    env: Object.fromEntries(env) as Record<string, string>,
    cluster: exec.flag('provideClusterInfo') ? describeCluster(cluster, ca) : undefined,
    installHint: exec.text('installHint'),
  };
}

function describeCluster(cluster: KubeconfigEntry, ca: string | undefined) {
  const fields = clusterFields.filter((field) => cluster.has(field));
  const extension = cluster
    .entries('extensions', 'cluster')
    .find((entry) => entry.value('name') === clusterExtension);
  return {
    ...Object.fromEntries(fields.map((field) => [field, cluster.value(field)])),
    ...(ca !== undefined && {
      'certificate-authority-data': Buffer.from(ca).toString('base64'),
    }),
    config: extension?.value('extension') ?? null,
  };
}

/**
 * Runs the plugin once, without a terminal.
 *
 * @returns what it printed
 * @throws Error with the plugin's stderr, when it cannot be started, ends with another code than 0,
 *   or takes longer than `timeoutMs`
 */
export async function runExecPlugin(
  plugin: ExecPlugin,
  timeoutMs = defaultTimeoutMs,
): Promise<string> {
  const { apiVersion, command, args, env, cluster, installHint } = plugin;
  const spec = { ...(cluster !== undefined && { cluster }), interactive: false };
  const info = JSON.stringify({ kind: 'ExecCredential', apiVersion, spec });
  const child = spawn(command, args, {
    env: { ...process.env, ...env, KUBERNETES_EXEC_INFO: info },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child.stdout);
  const complaint = collect(child.stderr);
  const { promise: late, reject: onLate } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    child.kill('SIGKILL');
    // A program that the plugin has started can outlive it, and keeps its output open.
    child.stdout.destroy();
    child.stderr.destroy();
    const problem = `${command} printed no credentials within ${timeoutMs / 1000} s`;
    onLate(new Error(`${problem}: ${complaint().trim()}`));
  }, timeoutMs);
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const hint = installHint === undefined ? '' : `; ${installHint}`;
      const problem = cause.code === 'ENOENT' ? `there is no program ${command}` : cause.message;
      reject(new Error(`${problem}${hint}`, { cause }));
    });
    child.once('close', (code, killedBy) => {
      if (code === 0) return resolve(output());
      const end = killedBy === null ? `ended with code ${code}` : `was ended by ${killedBy}`;
      reject(new Error(`${command} ${end}: ${complaint().trim()}`));
    });
  });
  return await Promise.race([ended, late]).finally(() => clearTimeout(timer));
}

/** @returns gives the text that has come, cut to a bounded size */
function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxOutputBytes) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}
