import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cli } from './captured-cli.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-credential-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const infoFor = (clusterName: string) =>
  JSON.stringify({
    kind: 'ExecCredential',
    apiVersion: 'client.authentication.k8s.io/v1beta1',
    spec: { cluster: { server: 'https://x', config: { clusterName } }, interactive: false },
  });

describe('culvert credential', () => {
  it('culvert credential prints the token of the cluster that the client names, and nothing else', async () => {
    writeFileSync(join(folder, 'prod-1'), 'token-of-prod-1\n');
    const argv = ['credential', '--bearer-token-file', join(folder, '{cluster}')];
    const { code, stdout, stderr } = await cli(argv, { KUBERNETES_EXEC_INFO: infoFor('prod-1') });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({
      kind: 'ExecCredential',
      apiVersion: 'client.authentication.k8s.io/v1beta1',
      status: { token: 'token-of-prod-1' },
    });
    const missing = await cli(argv, { KUBERNETES_EXEC_INFO: infoFor('prod-2') });
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toContain(`the token file ${join(folder, 'prod-2')} cannot be used`);
  });

  it('culvert credential needs to know the cluster', async () => {
    const refused = await cli(['credential', '--bearer-token-file', 'x']);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('the cluster is not known: give --cluster');
  });

  it.each([
    [[], 'no token is named, give one of --bearer-token-file'],
    [['--bearer-token-file', 'a', '--managed-serviceaccount', 'b'], 'keep one of --bearer-token'],
    [['--managed-serviceaccount', 'b'], 'needs --hub-kubeconfig or --hub-context outside a pod'],
    [['--bearer-token-file', 'a', '--audience', 'b'], '--audience needs --service-account'],
    [['--service-account', 'a'], 'is not NAMESPACE/NAME of a ServiceAccount'],
    [['--service-account', '../x/y'], 'is not NAMESPACE/NAME of a ServiceAccount'],
    [
      ['--bearer-token-file', 'a', '--secret-namespace', 'b'],
      '--secret-namespace needs --managed-serviceaccount as well',
    ],
  ])('culvert credential refuses the options %j', async (args, problem) => {
    const { code, stderr } = await cli(['credential', '--cluster', 'c1', ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(problem);
  });
});
