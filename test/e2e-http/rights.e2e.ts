import { get } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import type { CertificateFiles } from '../../testkit/world/certificates.ts';
import { openClient } from '../../testkit/world/front-client.ts';
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
import { RightsTable } from './support/rights-table.ts';

const programs = await planePrograms();
const users = ['alice', 'bob'] as const;
type User = (typeof users)[number];

/** The rights of the users in each cluster: alice administrates cluster1, bob reads cluster2. */
const rights: Readonly<Record<User, Readonly<Partial<Record<ClusterName, string>>>>> = {
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

/** The forms of the gateway's URLs. */
const urlForms = ['path', 'host'] as const;
/** What a user shows the gateway. */
const credentials = ['hub token', 'cluster token', 'client certificate'] as const;
type Credential = (typeof credentials)[number];
/** Ways of bytes, which end at the kube-apiserver's own authentication. */
const certificateFronts = ['HTTP CONNECT', 'konnectivity gRPC'] as const;
const tokenFronts = ['SOCKS 5', 'culvert connect'] as const;
type ByteFront = (typeof certificateFronts)[number] | (typeof tokenFronts)[number];

type Call = { readonly method: string; readonly path: string };

describe.each(['RBAC of the clusters', 'policy of the hub'] as const)(
  'Two users of two clusters, whose rights are in the %s,',
  (source) => {
    const table = new RightsTable();
    const hasPolicy = source === 'policy of the hub';
    const hubTokens = new Map<User, string>();
    const certificates = new Map<User, CertificateFiles>();
    let plane: Plane;

    beforeAll(async () => {
      plane = await Plane.start(programs, {
        hasByteFronts: true,
        ...(hasPolicy ? { policy } : {}),
      });
      const { clientAuthority } = plane.certificates;
      for (const user of users) {
        certificates.set(user, await clientAuthority.issue({ name: user, usage: 'client' }));
        await plane.hub.apply(serviceAccount(user));
        hubTokens.set(user, await plane.hub.token('default', user));
        for (const cluster of clusterNames) {
          const { server } = plane.api(cluster);
          await server.apply(serviceAccount(user));
          // Where a policy limits the users, the clusters do not.
          const role = hasPolicy ? 'cluster-admin' : rights[user][cluster];
          if (role === undefined) continue;
          const bindings = kubeNames(user).map((name, index) =>
            clusterRoleBinding(`${user}-${index}`, role, {
              apiGroup: 'rbac.authorization.k8s.io',
              kind: 'User',
              name,
            }),
          );
          await server.apply([reader, ...bindings]);
        }
      }
    });
    afterAll(async () => {
      console.log(`Rights in the ${source}:\n\n${table.toMarkdown()}\n`);
      await plane?.[Symbol.asyncDispose]();
    });

    const cells = users.flatMap((user) =>
      clusterNames.flatMap((cluster) => requests.map((request) => ({ user, cluster, request }))),
    );

    const argumentsOf = async (
      credential: Credential,
      user: User,
      cluster: ClusterName,
    ): Promise<string[]> => {
      if (credential === 'client certificate') {
        const { cert, key } = certificates.get(user)!;
        return ['--cert', cert, '--key', key];
      }
      const token =
        credential === 'hub token'
          ? hubTokens.get(user)!
          : await plane.api(cluster).server.token('default', user);
      return bearer(token);
    };

    describe.each(urlForms)('through the gateway, in the %s form', (form) => {
      const request = (cluster: ClusterName, call: Call, args: readonly string[]) => {
        const { port } = new URL(plane.urlOf(cluster));
        const host = `${cluster}.${domain}:${port}`;
        const url = form === 'path' ? plane.urlOf(cluster) : `https://${host}`;
        const resolve = form === 'host' ? ['--resolve', `${host}:127.0.0.1`] : [];
        return curl(url, call, ['--cacert', plane.caFile, ...resolve, ...args]);
      };

      describe.each(credentials)('with a %s', (credential) => {
        it.each(cells)(
          '$user has the own rights in $cluster: $request.name',
          async ({ user, cluster, request: call }) => {
            const args = await argumentsOf(credential, user, cluster);
            const status = await request(cluster, call, args);
            table.add(`gateway, ${form} form, ${credential}`, user, cluster, call.name, status);
            expect(status).toBe(isAllowed(user, cluster, call) ? call.success : '403');
          },
        );
      });

      it.each(clusterNames)(
        'a request without a token or with garbage fails at %s',
        async (name) => {
          for (const args of [[], bearer('garbage')]) {
            const status = await request(name, requests[0], args);
            table.add(`gateway, ${form} form`, 'nobody', name, 'read', status);
            expect(status).toBe('401');
          }
        },
      );

      it('a user cannot become another user', async () => {
        for (const header of ['Impersonate-User: admin', 'impersonate-group: system:masters']) {
          const args = [...bearer(hubTokens.get('bob')!), '-H', header];
          // As with upstream, the kube-apiserver of the cluster decides, and it does not know the hub.
          // With a policy, the request is that of an anonymous client, whom no rule allows it.
          const status = await request('cluster2', requests[0], args);
          expect(status).toBe(hasPolicy ? '403' : '401');
        }
      });
    });

    const byteCells = users.flatMap((user) => clusterNames.map((cluster) => ({ user, cluster })));
    const version = { method: 'GET', path: '/version' } as const;

    const add = async (
      front: ByteFront,
      user: User | 'nobody',
      cluster: ClusterName,
      reached: Promise<string>,
    ): Promise<string> => {
      const status = await reached.catch(refusal);
      table.add(front, user, cluster, 'reach', status);
      return status;
    };

    describe.each(certificateFronts)('through %s with a client certificate', (front) => {
      it.each(byteCells)('$user reaches the own clusters: $cluster', async ({ user, cluster }) => {
        const status = await add(front, user, cluster, reach(certificates.get(user), cluster));
        // As with upstream, a client certificate reaches every cluster unless a policy limits it.
        const isReached = !hasPolicy || scopes[user].includes(cluster);
        expect(status).toBe(isReached ? '200' : 'forbidden');
      });

      it.each(clusterNames)('a client without a certificate fails at %s', async (cluster) => {
        const status = await add(front, 'nobody', cluster, reach(undefined, cluster));
        expect(status).toBe('no connection');
      });

      function reach(client: CertificateFiles | undefined, cluster: ClusterName): Promise<string> {
        return front === 'HTTP CONNECT'
          ? reachByConnect(client, cluster)
          : reachByGrpc(client, cluster);
      }
    });

    describe.each(tokenFronts)('through %s with a token', (front) => {
      it.each(byteCells)('$user reaches the own clusters: $cluster', async ({ user, cluster }) => {
        // With a policy, the token is for every cluster, and the policy limits it.
        const own = hasPolicy ? {} : { clusters: scopes[user] };
        const token = await plane.tokens.issue({ kind: 'dialer', name: user, ...own });
        const status = await add(front, user, cluster, reach(token, cluster));
        const refused = front === 'SOCKS 5' ? 'forbidden' : 'no connection';
        expect(status).toBe(scopes[user].includes(cluster) ? '200' : refused);
      });

      it.each(clusterNames)('an unknown token fails at %s', async (cluster) => {
        expect(await add(front, 'nobody', cluster, reach('garbage', cluster))).toBe(
          'no connection',
        );
      });

      function reach(token: string, cluster: ClusterName): Promise<string> {
        return front === 'SOCKS 5' ? reachBySocks(token, cluster) : reachByProgram(token, cluster);
      }
    });

    function reachByConnect(
      client: CertificateFiles | undefined,
      cluster: ClusterName,
    ): Promise<string> {
      const own = client && ['--proxy-cert', client.cert, '--proxy-key', client.key];
      const proxy = ['--proxy', `https://${plane.frontAddress}`, '--proxy-cacert', plane.caFile];
      return curl(`https://${cluster}`, version, ['--insecure', ...proxy, ...(own ?? [])]);
    }

    async function reachByGrpc(
      client: CertificateFiles | undefined,
      cluster: ClusterName,
    ): Promise<string> {
      // The client of gRPC needs a certificate. A foreign CA issued this one.
      const { server } = plane.certificates;
      const tls = { serverCa: plane.caFile, client: client ?? server };
      await using konnectivity = await openClient({ address: plane.frontAddress, tls });
      const socket = await konnectivity.dial(`${cluster}:443`);
      return await new Promise((resolve, reject) => {
        get(
          {
            path: version.path,
            createConnection: () => connectTls({ socket, rejectUnauthorized: false }),
          },
          (response) => {
            resolve(String(response.statusCode));
            response.destroy();
          },
        ).once('error', reject);
      });
    }

    function reachBySocks(token: string, cluster: ClusterName): Promise<string> {
      const half = token.length >> 1;
      const credential = `${token.slice(0, half)}:${token.slice(half)}`;
      const proxy = ['--socks5-hostname', plane.socksAddress, '--proxy-user', credential];
      return curl(`https://${cluster}`, version, ['--insecure', ...proxy]);
    }

    async function reachByProgram(token: string, cluster: ClusterName): Promise<string> {
      await using connect = plane.startConnect(cluster, await plane.tokens.file(token));
      const address = await logged(connect, 'connect listens', 'address');
      return await curl(`https://${address}`, version, ['--insecure']);
    }
  },
);

/** The clusters of each user, for ways that have no finer rights. */
const scopes: Readonly<Record<User, ClusterName[]>> = { alice: ['cluster1'], bob: ['cluster2'] };

/** The names of a user in a managed cluster: with a token of the hub, its own, or a certificate. */
function kubeNames(user: User): string[] {
  const name = `system:serviceaccount:default:${user}`;
  return [`cluster:hub:${name}`, name, user];
}

function isAllowed(user: User, cluster: ClusterName, { name }: Request): boolean {
  const right = rights[user][cluster];
  return right === 'cluster-admin' || (name === 'read' && right !== undefined);
}

/** The same rights as in RBAC. */
const policy = {
  rules: users.map((user) => ({
    name: user,
    subjects: { users: kubeNames(user).slice(0, 2), certificates: [user], tokens: [user] },
    clusters: { names: scopes[user] },
    allow: [
      { tcp: { hosts: ['*'] }, sessions: true },
      ...(user === 'alice'
        ? [{ all: true }]
        : [{ kube: { verbs: ['get', 'list', 'watch'], resources: ['configmaps'] } }]),
    ],
  })),
};

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

/** What a failure means: a rule forbids the connection, or the front does not know the client. */
function refusal(error: Error): string {
  const forbidden = /response 403|no rule of the policy|SOCKS5 connection to \S+ \(2\)/;
  return forbidden.test(error.message) ? 'forbidden' : 'no connection';
}

function bearer(token: string): string[] {
  return ['-H', `Authorization: Bearer ${token}`];
}

/** The status code of the answer. */
function curl(url: string, { method, path }: Call, args: readonly string[]): Promise<string> {
  const body = ['-H', 'Content-Type: application/json', '-d', configMap];
  const format = [
    '--silent',
    '--show-error',
    '--output',
    '/dev/null',
    '--write-out',
    '%{http_code}',
  ];
  return run({
    command: 'curl',
    args: [...format, '-X', method, ...(method === 'POST' ? body : []), ...args, `${url}${path}`],
  });
}
