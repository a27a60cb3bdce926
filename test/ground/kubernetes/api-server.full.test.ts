import { readFile } from 'node:fs/promises';
import { beforeAll, afterAll, describe, expect, it } from 'vitest';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { textOf } from '../../../testkit/ground/kubernetes/kubectl.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { run } from '../../../testkit/ground/kubernetes/run.ts';

interface List {
  readonly items: readonly { readonly metadata: { readonly name: string } }[];
}

const namesOf = ({ items }: List) => items.map(({ metadata }) => metadata.name);

describe('a run of a program', () => {
  it('A run returns all of a long output', async () => {
    const script = 'process.stdout.write("x".repeat(1e6))';
    expect(await run({ command: process.execPath, args: ['-e', script] })).toHaveLength(1e6);
  });

  it('A run that fails quotes the output of its program', async () => {
    const script = 'console.error("no such flag"); process.exit(3)';
    const failing = run({ command: process.execPath, args: ['-e', script] });
    await expect(failing).rejects.toThrow(/ended with code 3: no such flag/);
  });
});

describe('a manifest', () => {
  it('A manifest is text, an object, or a list of objects', () => {
    expect(textOf('kind: Pod')).toBe('kind: Pod');
    expect(textOf({ kind: 'Pod' })).toBe('---\n{"kind":"Pod"}\n');
    expect(textOf([{ a: 1 }, { b: 2 }])).toBe('---\n{"a":1}\n---\n{"b":2}\n');
  });
});

const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'an API server of a test', ({ programs }) => {
  let server: RunningApiServer;

  beforeAll(async () => {
    server = await startApiServer(programs, {
      controllerManager: true,
      ocm: ['hub-crds', 'hub-roles', 'managed-roles'],
    });
  }, 60_000);

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  it('An API server keeps what is applied', async () => {
    const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kept' } };
    await server.apply({ ...configMap, data: { key: 'value' } });
    expect(await server.get('configmap', 'kept')).toMatchObject({ data: { key: 'value' } });
  });

  it('An API server validates a dry run, and stores nothing', async () => {
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'tried' } };
    const dryRun = ['--dry-run=server'];
    await server.apply({ ...service, spec: { ports: [{ port: 80 }] } }, dryRun);
    const refused = server.apply({ ...service, spec: { ports: [{ port: 0 }] } }, dryRun);
    await expect(refused).rejects.toThrow('spec.ports[0].port: Invalid value: 0');
    expect(namesOf(await server.get<List>('services'))).not.toContain('tried');
  });

  it('An API server issues tokens of ServiceAccounts for an audience', async () => {
    const token = await server.token('default', 'default', { audience: 'tests' });
    const [, claims = ''] = token.split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
      aud: ['tests'],
      sub: 'system:serviceaccount:default:default',
    });
  });

  it('An API server knows a user by the certificate in a kubeconfig', async () => {
    const kubeconfig = await server.kubeconfigFor({ user: 'jane', groups: ['team-a', 'team-b'] });
    const who = await server.kubectl([
      `--kubeconfig=${kubeconfig}`,
      'auth',
      'whoami',
      '-o',
      'json',
    ]);
    expect(JSON.parse(who)).toMatchObject({
      status: {
        userInfo: { username: 'jane', groups: ['team-a', 'team-b', 'system:authenticated'] },
      },
    });
  });

  it("An API server serves Open Cluster Management's kinds and holds its roles", async () => {
    expect(namesOf(await server.get<List>('crds'))).toEqual(
      expect.arrayContaining([
        'managedclusters.cluster.open-cluster-management.io',
        'managedclusteraddons.addon.open-cluster-management.io',
        'manifestworks.work.open-cluster-management.io',
      ]),
    );
    expect(namesOf(await server.get<List>('clusterroles'))).toEqual(
      expect.arrayContaining([
        'open-cluster-management:cluster-manager-addon-manager:controller',
        'open-cluster-management:klusterlet-work:agent',
      ]),
    );
  });

  it('An API server serves no version that needs conversion', async () => {
    const metadata = { name: 'addon', namespace: 'default' };
    const apiVersion = 'addon.open-cluster-management.io/v1alpha1';
    await server.apply({ apiVersion, kind: 'ManagedClusterAddOn', metadata, spec: {} });
    // Which version kubectl takes is the server's choice; a field that another does not have would go.
    const patch = (resource: string, ...args: string[]) =>
      server.kubectl(['patch', resource, 'addon', '--type=merge', ...args]);
    const registrations = [{ signerName: 'kubernetes.io/kube-apiserver-client' }];
    const status = JSON.stringify({ status: { registrations } });
    await patch('managedclusteraddon', '--subresource=status', `--patch=${status}`);
    await patch('managedclusteraddon', '--patch={"metadata":{"labels":{"a":"b"}}}');
    expect(await server.get('managedclusteraddon', 'addon')).toMatchObject({
      apiVersion,
      status: { registrations },
    });
  });

  it('An API server is independent of another one', async () => {
    await using other = await startApiServer(programs);
    expect(other.url).not.toBe(server.url);
    expect(namesOf(await other.get<List>('crds'))).toEqual([]);
    expect(await readFile(other.caFile, 'utf8')).not.toBe(await readFile(server.caFile, 'utf8'));
  }, 60_000);

  it('An API server goes away, and comes back with its objects', async () => {
    await server.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'lasting' } });
    await server.goAway();
    await expect(server.get('namespaces')).rejects.toThrow('refused');
    await server.comeBack();
    expect(namesOf(await server.get<List>('namespaces'))).toContain('lasting');
  }, 60_000);
});
