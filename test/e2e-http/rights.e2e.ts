import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { logged } from '../../testkit/world/world.ts';
import {
  clusterNames,
  clusterRoleBinding,
  domain,
  Plane,
  serviceAccount,
  type ClusterName,
} from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const programs = await planePrograms();
const users = ['alice', 'bob'] as const;
type User = (typeof users)[number];

/** The rights of the users in each cluster: alice administrates cluster1, bob reads cluster2. */
const roles: Readonly<Record<User, Readonly<Partial<Record<ClusterName, string>>>>> = {
  alice: { cluster1: 'cluster-admin' },
  bob: { cluster2: 'reader' },
};

const requests = [
  { name: 'read', method: 'GET', path: '/api/v1/namespaces/default/configmaps', success: '200' },
  {
    name: 'write',
    method: 'POST',
    path: '/api/v1/namespaces/default/configmaps?dryRun=All',
    success: '201',
  },
] as const;
type Request = (typeof requests)[number];

/** Ways of a hub user's request through the gateway. */
const gatewayFronts = ['path', 'host'] as const;
/** Ways of bytes, which end at the kube-apiserver's own authentication. */
const byteFronts = ['HTTP CONNECT', 'SOCKS 5', 'culvert connect'] as const;

type Call = { readonly method: string; readonly path: string };

interface Row {
  readonly user: string;
  readonly cluster: ClusterName;
  readonly front: string;
  readonly request: string;
  readonly status: string;
}

describe('Two users of two clusters', () => {
  let plane: Plane;
  const tokens = new Map<User, string>();
  const rows: Row[] = [];

  beforeAll(async () => {
    plane = await Plane.start(programs, { hasByteFronts: true });
    for (const user of users) {
      await plane.hub.apply(serviceAccount(user));
      tokens.set(user, await plane.hub.token('default', user));
      for (const cluster of clusterNames) {
        const role = roles[user][cluster];
        if (role === undefined) continue;
        const name = `cluster:hub:system:serviceaccount:default:${user}`;
        const subject = { apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name };
        await plane.api(cluster).server.apply([reader, clusterRoleBinding(user, role, subject)]);
      }
    }
  });
  afterAll(async () => {
    console.log(table(rows));
    await plane?.[Symbol.asyncDispose]();
  });

  const curl = (url: string, { method, path }: Call, ...more: string[]) =>
    run({
      command: 'curl',
      args: [
        ...['--silent', '--output', '/dev/null', '--write-out', '%{http_code}', '-X', method],
        ...(method === 'POST' ? ['-H', 'Content-Type: application/json', '-d', configMap] : []),
        ...more,
        `${url}${path}`,
      ],
    });

  const isAllowed = (user: User, cluster: ClusterName, { name }: Request): boolean =>
    roles[user][cluster] === 'cluster-admin' ||
    (name === 'read' && roles[user][cluster] !== undefined);

  const cells = users.flatMap((user) =>
    clusterNames.flatMap((cluster) => requests.map((request) => ({ user, cluster, request }))),
  );

  describe.each(gatewayFronts)('through the gateway, in the %s form', (front) => {
    const url = (cluster: ClusterName): string => {
      const { port } = new URL(plane.urlOf(cluster));
      return front === 'path' ? plane.urlOf(cluster) : `https://${cluster}.${domain}:${port}`;
    };
    const own = (cluster: ClusterName): string[] => {
      const { port } = new URL(plane.urlOf(cluster));
      const resolve = ['--resolve', `${cluster}.${domain}:${port}:127.0.0.1`];
      return ['--cacert', plane.caFile, ...(front === 'host' ? resolve : [])];
    };

    it.each(cells)(
      'have the rights that cluster $cluster gives: $user, $request.name',
      async ({ user, cluster, request }) => {
        const bearer = ['-H', `Authorization: Bearer ${tokens.get(user)!}`];
        const status = await curl(url(cluster), request, ...own(cluster), ...bearer);
        rows.push({ user, cluster, front, request: request.name, status });
        expect(status).toBe(isAllowed(user, cluster, request) ? request.success : '403');
      },
    );

    it.each(clusterNames)('are refused without a token or with garbage by %s', async (cluster) => {
      for (const bearer of [[], ['-H', 'Authorization: Bearer garbage']]) {
        const status = await curl(url(cluster), requests[0], ...own(cluster), ...bearer);
        rows.push({ user: 'nobody', cluster, front, request: 'read', status });
        expect(status).toBe('401');
      }
    });

    it('cannot make themselves another user', async () => {
      for (const header of ['Impersonate-User: admin', 'impersonate-group: system:masters']) {
        const bearer = ['-H', `Authorization: Bearer ${tokens.get('bob')!}`, '-H', header];
        const status = await curl(url('cluster1'), requests[0], ...own('cluster1'), ...bearer);
        // As with upstream, the kube-apiserver of the cluster decides, and it does not know the hub.
        expect(status).toBe('401');
      }
    });
  });

  describe.each(byteFronts)('through %s', (front) => {
    it.each(users.flatMap((user) => clusterNames.map((cluster) => ({ user, cluster }))))(
      'reach the clusters of their credential: $user, $cluster',
      async ({ user, cluster }) => {
        const request = { method: 'GET', path: '/version' } as const;
        const status = await reach(front, user, cluster, request).catch(() => 'no connection');
        rows.push({ user, cluster, front, request: 'reach', status });
        // As with upstream, a client certificate reaches every cluster unless a policy says otherwise.
        const isReached = front === 'HTTP CONNECT' || scopes[user].includes(cluster);
        expect(status).toBe(isReached ? '200' : 'no connection');
      },
    );
  });

  async function reach(
    front: (typeof byteFronts)[number],
    user: User,
    cluster: ClusterName,
    request: Call,
  ): Promise<string> {
    const token = await plane.tokens.issue({ kind: 'dialer', name: user, clusters: scopes[user] });
    if (front === 'culvert connect') {
      await using connect = plane.startConnect(cluster, await plane.tokens.file(token));
      const address = await logged(connect, 'connect listens', 'address');
      return await curl(`https://${address}`, request, '--insecure');
    }
    if (front === 'SOCKS 5') {
      const proxy = ['--socks5-hostname', plane.socksAddress];
      const half = token.length >> 1;
      const credential = ['--proxy-user', `${token.slice(0, half)}:${token.slice(half)}`];
      return curl(`https://${cluster}`, request, '--insecure', ...proxy, ...credential);
    }
    const { server, clientAuthority } = plane.certificates;
    const client = await clientAuthority.issue({ name: user, usage: 'client' });
    return curl(
      `https://${cluster}`,
      request,
      ...['--insecure', '--proxy', `https://${plane.frontAddress}`, '--proxy-cacert', server.ca],
      ...['--proxy-cert', client.cert, '--proxy-key', client.key],
    );
  }
});

/** The clusters of each user's dialer token. */
const scopes: Readonly<Record<User, ClusterName[]>> = { alice: ['cluster1'], bob: ['cluster2'] };

const reader = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'reader' },
  rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'watch'] }],
};

const configMap = JSON.stringify({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { generateName: 'rights-' },
});

function table(rows: readonly Row[]): string {
  const head = ['user', 'cluster', 'front', 'request', 'status'];
  const lines = rows.map((row) => Object.values(row) as string[]);
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
