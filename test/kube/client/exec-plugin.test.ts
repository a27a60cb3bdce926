import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExecCredentials } from '../../../src/kube/client/exec-credentials.ts';
import {
  type ExecPlugin,
  parseExecPlugin,
  runExecPlugin,
} from '../../../src/kube/client/exec-plugin.ts';
import { KubeconfigEntry } from '../../../src/kube/client/kubeconfig-entry.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';

const apiVersion = 'client.authentication.k8s.io/v1';
const hourMs = 3_600_000;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-exec-plugin-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const shell = (script: string, more: Partial<ExecPlugin> = {}): ExecPlugin => ({
  apiVersion,
  command: '/bin/sh',
  args: ['-c', script],
  env: {},
  cluster: undefined,
  installHint: undefined,
  ...more,
});

const printing = (answer: unknown) => {
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
  return shell(`printf %s "$ANSWER"`, { env: { ANSWER: text } });
};

const credential = (status: unknown) => ({ apiVersion, kind: 'ExecCredential', status });

/** A plugin that counts its runs in a file and answers with the number of the run. */
function counting(name: string, status = '') {
  const file = join(directory, name);
  const answer = `{"apiVersion":"${apiVersion}","kind":"ExecCredential","status":{"token":"run-%s"${status}}}`;
  return shell(`echo x >> ${file}; printf '${answer}' $(wc -l < ${file})`);
}

const tokenOf = async (credentials: ExecCredentials, plugin: ExecPlugin) =>
  (await credentials.get(plugin)).token?.reveal();

describe('The credentials of an exec plugin', () => {
  it('The credentials of an exec plugin are a token, a client certificate, or both', async () => {
    const pair = { clientCertificateData: 'CERT', clientKeyData: 'KEY' };
    const both = await new ExecCredentials().get(printing(credential({ token: 't', ...pair })));
    expect(both.token?.reveal()).toBe('t');
    expect(both.certificate?.cert).toBe('CERT');
    expect(both.certificate?.key.reveal()).toBe('KEY');
    const certificate = await new ExecCredentials().get(printing(credential(pair)));
    expect(certificate.token).toBeUndefined();
    expect(certificate.certificate?.cert).toBe('CERT');
    const token = await new ExecCredentials().get(printing(credential({ token: 't' })));
    expect(token.certificate).toBeUndefined();
  });

  it('Credentials without an expiry are held until they are refused', async () => {
    const credentials = new ExecCredentials(() => 100 * hourMs);
    const plugin = counting('held');
    expect(await tokenOf(credentials, plugin)).toBe('run-1');
    expect(await tokenOf(credentials, plugin)).toBe('run-1');
    credentials.forget();
    expect(await tokenOf(credentials, plugin)).toBe('run-2');
  });

  it('Credentials with an expiry are held until that time', async () => {
    let nowMs = Date.parse('2026-01-01T00:00:00Z');
    const credentials = new ExecCredentials(() => nowMs);
    const plugin = counting('expiring', ',"expirationTimestamp":"2026-01-01T01:00:00Z"');
    expect(await tokenOf(credentials, plugin)).toBe('run-1');
    nowMs += hourMs - 1;
    expect(await tokenOf(credentials, plugin)).toBe('run-1');
    nowMs += 1;
    expect(await tokenOf(credentials, plugin)).toBe('run-2');
  });

  it('A plugin with other arguments is run, whatever is held', async () => {
    const credentials = new ExecCredentials();
    const plugin = counting('changed');
    expect(await tokenOf(credentials, plugin)).toBe('run-1');
    expect(await tokenOf(credentials, { ...plugin, env: { PROFILE: 'other' } })).toBe('run-2');
  });

  it.each<[string, unknown, RegExp]>([
    ['no JSON', 'a hidden token', /not an ExecCredential/],
    ['null', 'null', /not an ExecCredential/],
    ['another kind', { ...credential({ token: 'hidden' }), kind: 'Status' }, /ExecCredential/],
    [
      'another version',
      { ...credential({ token: 'hidden' }), apiVersion: 'client.authentication.k8s.io/v1beta1' },
      /another version than client.authentication.k8s.io\/v1,/,
    ],
    ['no status', credential(undefined), /neither a token nor a client certificate/],
    ['an empty token', credential({ token: '' }), /neither a token nor a client certificate/],
    ['a number for a token', credential({ token: 7 }), /status.token .*not text/],
    ['a key alone', credential({ token: 't', clientKeyData: 'hidden' }), /both are needed/],
    [
      'an expiry that is no time',
      credential({ token: 'hidden', expirationTimestamp: 'soon' }),
      /expirationTimestamp .*not a time/,
    ],
  ])('The output of a plugin is refused with %s', async (_, answer, sentence) => {
    const failure = await new ExecCredentials().get(printing(answer)).catch((error) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(failure.message).toMatch(sentence);
    expect(failure.message).not.toContain('hidden');
  });
});

describe('An exec plugin', () => {
  it('An exec plugin gets its arguments, its environment and KUBERNETES_EXEC_INFO', async () => {
    const file = join(directory, 'seen');
    const answer = JSON.stringify(credential({ token: 't' }));
    const script = `printf '%s\\n' "$1" "$REGION" "$HOME" "$KUBERNETES_EXEC_INFO" > ${file}; printf %s '${answer}'`;
    const cluster = { server: 'https://api.example:6443' };
    const plugin = shell(script, { env: { REGION: 'north' }, cluster });
    await new ExecCredentials().get({ ...plugin, args: [...plugin.args, 'sh', 'first'] });
    const [first, region, home, info] = (await readFile(file, 'utf8')).split('\n');
    expect([first, region, home]).toEqual(['first', 'north', process.env['HOME']]);
    expect(JSON.parse(info!)).toEqual({
      kind: 'ExecCredential',
      apiVersion,
      spec: { interactive: false, cluster },
    });
  });

  it('An exec plugin reads no input', async () => {
    const answer = JSON.stringify(credential({ token: 't' }));
    const plugin = shell(`cat; printf %s '${answer}'`);
    expect(await tokenOf(new ExecCredentials(), plugin)).toBe('t');
  });

  it('An exec plugin that fails is reported with its code and what it printed to stderr', async () => {
    const failing = new ExecCredentials().get(shell('echo no login >&2; exit 3'));
    await expect(failing).rejects.toThrow('/bin/sh ended with code 3: no login');
    const killed = new ExecCredentials().get(shell('kill -9 $$'));
    await expect(killed).rejects.toThrow('/bin/sh was ended by SIGKILL');
  });

  it('An exec plugin that takes too long is given up, although it ignores SIGTERM and a program of it still runs', async () => {
    const file = join(directory, 'running');
    const loop = `while [ -e ${file} ]; do sleep 0.05; done`;
    const plugin = shell(`trap '' TERM; touch ${file}; echo hm >&2; ${loop} & ${loop}`);
    await expect(runExecPlugin(plugin, 500)).rejects.toThrow(
      /^\/bin\/sh printed no credentials within 0.5 s: /,
    );
    await rm(file, { force: true });
  });

  it('An exec plugin that is not installed is reported with its install hint', async () => {
    const plugin = shell('', {
      command: 'no-such-program',
      installHint: 'get it from example.com',
    });
    await expect(new ExecCredentials().get(plugin)).rejects.toThrow(
      'there is no program no-such-program; get it from example.com',
    );
  });
});

describe('The exec field of a kubeconfig', () => {
  const parse = (exec: unknown, cluster: object = {}, ca?: string) => {
    const path = '/etc/culvert/kubeconfig';
    const user = new KubeconfigEntry(path, 'user', { exec });
    return parseExecPlugin(path, user, new KubeconfigEntry(path, 'cluster', cluster), ca);
  };

  it('The command of an exec plugin is relative to the kubeconfig if it has a slash', () => {
    expect(parse({ apiVersion, command: './bin/login' }).command).toBe('/etc/culvert/bin/login');
    expect(parse({ apiVersion, command: '/bin/login' }).command).toBe('/bin/login');
    expect(parse({ apiVersion, command: 'login' }).command).toBe('login');
  });

  it('The exec field may have null for arguments and environment', () => {
    const plugin = parse({ apiVersion, command: 'login', args: null, env: null });
    expect(plugin).toMatchObject({ args: [], env: {}, cluster: undefined });
  });

  it('The exec field describes the cluster to a plugin that asks for it', () => {
    const cluster = {
      server: 'https://api.example:6443',
      'certificate-authority': 'ca.crt',
      'tls-server-name': 'api',
      extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'a' } }],
    };
    const exec = { apiVersion, command: 'login', provideClusterInfo: true };
    expect(parse(exec, cluster, 'PEM').cluster).toEqual({
      server: 'https://api.example:6443',
      'tls-server-name': 'api',
      'certificate-authority-data': Buffer.from('PEM').toString('base64'),
      config: { audience: 'a' },
    });
    expect(parse(exec).cluster).toEqual({ config: null });
  });

  it.each<[string, object, RegExp]>([
    ['an unknown version', { apiVersion: 'v9', command: 'a' }, /apiVersion of its exec plugin/],
    ['no command', { apiVersion }, /its exec plugin has no command/],
    [
      'questions for a person',
      { apiVersion, command: 'a', interactiveMode: 'Always' },
      /interactiveMode: Always/,
    ],
    ['arguments that are text', { apiVersion, command: 'a', args: '-x' }, /args .*not a list/],
    ['a number as an argument', { apiVersion, command: 'a', args: [1] }, /args .*put it in quotes/],
    ['a nameless variable', { apiVersion, command: 'a', env: [{ value: 'x' }] }, /has no name/],
  ])('The exec field is refused with %s', (_, exec, sentence) => {
    expect(() => parse(exec)).toThrow(sentence);
  });

  it('A kubeconfig with an auth-provider is refused', async () => {
    const path = join(directory, 'auth-provider');
    const user = { 'auth-provider': { name: 'oidc', config: {} } };
    const config = {
      clusters: [{ name: 'c', cluster: { server: 'https://api.example:6443' } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(path, JSON.stringify(config));
    await expect(kubeconfigFile(path).endpoint()).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringMatching(/auth-provider.*use an exec plugin/),
    });
  });
});
