import { describe, expect, it } from 'vitest';
import { readBrokerOptions } from '../../../src/cli/broker-options.ts';
import { ConfigError } from '../../../src/base/options/option-problems.ts';
import { fields } from '../../../src/addon/api/fields.ts';
import {
  argsOf,
  configurationObject,
  configurationOf,
  containerOf,
  deploymentOf,
  entrypointOf,
  hub,
  plan,
  podOf,
  redis,
  secret,
} from './hub-fixture.ts';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';

const serverLabel = { 'proxy.open-cluster-management.io/component-name': 'proxy-server' };
const withoutRedis = { settings: { redis: undefined } };

function unknownToBroker(args: readonly string[]): readonly string[] {
  try {
    readBrokerOptions(args, {});
    return [];
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return thrown.problems.flatMap(
      (problem) => /^unknown option (--[\w-]+)/.exec(problem)?.[1] ?? [],
    );
  }
}

const url = 'redis://:pass@redis:6379';
const redisSecret = { secretRef: { name: 'redis-url' }, caSecretRef: { name: 'redis-ca' } };
const redisObjects = [secret('redis-url', { url }), secret('redis-ca', { 'ca.crt': 'PEM' })];

describe('the Deployment of the brokers', () => {
  it('The Deployment of the brokers has the names and labels that users of Cluster Proxy expect', () => {
    const { metadata, spec } = deploymentOf(plan(configurationOf({}, {}, 7)));
    expect(metadata).toMatchObject({
      name: 'cluster-proxy',
      namespace: hub,
      labels: { 'proxy.open-cluster-management.io/configuration-generation': '7' },
      annotations: { 'proxy.open-cluster-management.io/configuration-generation': '7' },
    });
    expect(spec).toMatchObject({ replicas: 3, selector: { matchLabels: serverLabel } });
    expect(podOf(plan())).toMatchObject({ metadata: { labels: serverLabel } });
    expect(containerOf(plan())).toMatchObject({
      name: 'proxy-server',
      image: 'quay.io/open-cluster-management/cluster-proxy:v1.0.0',
    });
  });

  it('The Deployment of the brokers starts culvert broker with both ports, its status port and Redis', () => {
    expect(argsOf(plan())).toEqual([
      'broker',
      '--listen=[::]:8091',
      '--tls-cert=/etc/agent-pki/tls.crt',
      '--tls-key=/etc/agent-pki/tls.key',
      '--agent-ca=/etc/agent-ca/ca.crt',
      '--konnectivity-listen=[::]:8090',
      '--konnectivity-tls-cert=/etc/server-pki/tls.crt',
      '--konnectivity-tls-key=/etc/server-pki/tls.key',
      '--konnectivity-client-ca=/etc/server-ca-pki/ca.crt',
      '--status-listen=[::]:8092',
      '--kubernetes',
      '--replica-address=wss://$(POD_IP):8091',
      '--replica-ca=/etc/server-ca-pki/ca.crt',
      `--replica-server-name=proxy-entrypoint.${hub}.svc`,
      '--replica-key-file=/etc/replica-key/key',
      '--redis-url=redis://cluster-proxy-redis:6379',
      '--redis-prefix=culvert:',
      '--tls-min-version=VersionTLS12',
    ]);
    expect(argsOf(plan(configurationOf(), withoutRedis)).join()).not.toMatch(/redis|replica/);
  });

  it('The Deployment of the brokers uses only flags that the broker has', () => {
    const args = argsOf(plan()).slice(1);
    expect(unknownToBroker([...args, '--nonsense=1'])).toContain('--nonsense');
    expect(unknownToBroker(args)).toEqual([]);
  });

  it('The Deployment of the brokers passes on the flags from additionalArgs, the last value of each', () => {
    const additionalArgs = ['--accept-rate=10', '--v=6', '--accept-rate=20', '--keepalive-time=1h'];
    const args = argsOf(plan(configurationOf({ additionalArgs })));
    expect(args.slice(-3)).toEqual([
      '--accept-rate=20',
      '--log-level=debug',
      '--tls-min-version=VersionTLS12',
    ]);
  });

  it('The Deployment of the brokers mounts a Secret for every path in its arguments', () => {
    const from = plan(configurationOf({ redis: redisSecret }), { objects: redisObjects });
    const mounts = containerOf(from)['volumeMounts'] as { name: string; mountPath: string }[];
    const volumes = fields(podOf(from)['spec'])['volumes'] as {
      name: string;
      secret: { secretName: string };
    }[];
    const secretAt = (path: string) => {
      const mount = mounts.find(({ mountPath }) => path.startsWith(mountPath));
      return volumes.find(({ name }) => name === mount?.name)?.secret.secretName;
    };
    const paths = argsOf(from).flatMap((arg) => /=(\/etc\/.*)$/.exec(arg)?.[1] ?? []);
    expect(Object.fromEntries(paths.map((path) => [path, secretAt(path)]))).toEqual({
      '/etc/agent-pki/tls.crt': 'agent-server',
      '/etc/agent-pki/tls.key': 'agent-server',
      '/etc/agent-ca/ca.crt': 'agent-ca',
      '/etc/server-pki/tls.crt': 'proxy-server',
      '/etc/server-pki/tls.key': 'proxy-server',
      '/etc/server-ca-pki/ca.crt': 'proxy-server-ca',
      '/etc/replica-key/key': 'cluster-proxy-replica-key',
      '/etc/redis-ca/ca.crt': 'redis-ca',
    });
    expect(mounts).toHaveLength(volumes.length);
  });

  it('The Deployment of the brokers mounts the Secrets that the configuration names', () => {
    const secrets = { signingProxyServerSecretName: 'a', signingAgentServerSecretName: 'b' };
    const object = configurationObject();
    const spec = { ...(object['spec'] as object), authentication: { dump: { secrets } } };
    const from = plan(parseManagedProxyConfiguration({ ...object, spec }));
    expect(fields(podOf(from)['spec'])['volumes']).toEqual(
      expect.arrayContaining([
        { name: 'proxy-server-certs', secret: { secretName: 'a' } },
        { name: 'proxy-agent-certs', secret: { secretName: 'b' } },
      ]),
    );
  });

  it('The Deployment of the brokers replaces brokers one by one, and never has fewer', () => {
    const from = plan();
    expect(deploymentOf(from).spec['strategy']).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: 1, maxUnavailable: 0 },
    });
    expect(from.apply.find(({ kind }) => kind === 'PodDisruptionBudget')).toMatchObject({
      spec: { maxUnavailable: 1, selector: { matchLabels: serverLabel } },
    });
  });

  it.each([
    [[], 50],
    [['--drain-timeout=5m'], 320],
    [['--graceful-shutdown-timeout=500ms'], 21],
  ])(
    'The Deployment of the brokers gives a broker with %j time to end: %i seconds',
    (additionalArgs, seconds) => {
      const spec = podOf(plan(configurationOf({ additionalArgs })))['spec'];
      expect(spec).toMatchObject({ terminationGracePeriodSeconds: seconds });
    },
  );

  it('The Deployment of the brokers keeps a broker running while Services still lead to it', () => {
    const preStop = { exec: { command: ['node', '-e', 'setTimeout(() => {}, 5000)'] } };
    expect(containerOf(plan())['lifecycle']).toEqual({ preStop });
  });

  it('The Deployment of the brokers probes the status port', () => {
    const container = containerOf(plan());
    expect(container['ports']).toContainEqual({
      name: 'health',
      containerPort: 8092,
      protocol: 'TCP',
    });
    for (const [probe, path] of [
      ['startupProbe', '/healthz'],
      ['readinessProbe', '/readyz'],
      ['livenessProbe', '/healthz'],
    ] as const) {
      expect(container[probe]).toMatchObject({ httpGet: { path, port: 'health' } });
    }
  });

  it('The Deployment of the brokers gives its pods only the privileges that they need', () => {
    const from = plan();
    expect(podOf(from)['spec']).toMatchObject({
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(containerOf(from)['securityContext']).toEqual({
      allowPrivilegeEscalation: false,
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
    });
  });

  it('The Deployment of the brokers has the node placement and resources of the configuration', () => {
    const tolerations = [
      { key: 'infra', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 0 },
    ];
    const from = plan(
      configurationOf({
        nodePlacement: { nodeSelector: { dev: 'prod' }, tolerations },
        resources: { requests: { cpu: 1 } },
      }),
      { settings: { imagePullPolicy: 'Always', imagePullSecrets: ['a', 'b'] } },
    );
    expect(podOf(from)['spec']).toMatchObject({
      nodeSelector: { dev: 'prod' },
      tolerations,
      imagePullSecrets: [{ name: 'a' }, { name: 'b' }],
    });
    expect(podOf(plan())['spec']).not.toHaveProperty('imagePullSecrets');
    expect(containerOf(from)).toMatchObject({
      imagePullPolicy: 'Always',
      resources: { requests: { cpu: '1' }, limits: {} },
    });
    expect(containerOf(plan())['resources']).toEqual({
      requests: { cpu: '100m', memory: '256Mi' },
      limits: { memory: '2Gi' },
    });
  });
});

describe('the pods of the brokers', () => {
  const template = (...parameters: Parameters<typeof plan>) =>
    JSON.stringify(podOf(plan(...parameters)));

  it.each([
    ['the generation', configurationOf({}, {}, 99)],
    ['the image of agents', configurationOf({}, { image: 'agent:2' })],
    ['the number of agents', configurationOf({}, { replicas: 9 })],
    ['the arguments of agents', configurationOf({}, { additionalArgs: ['--v=4'] })],
    ['the list of agents', configurationOf({}, { allow: ['db:5432'] })],
    [
      'the entrypoint',
      entrypointOf({ type: 'Hostname', hostname: { value: 'hub.example' }, port: 443 }),
    ],
    ['the number of brokers', configurationOf({ replicas: 2 })],
    ['an argument without effect', configurationOf({ additionalArgs: ['--keepalive-time=30s'] })],
  ])('The pods of the brokers are kept when %s changes', (_what, configuration) => {
    expect(template(configuration)).toBe(template());
  });

  it.each([
    ['their image', configurationOf({ image: 'broker:2' })],
    ['their arguments', configurationOf({ additionalArgs: ['--v=4'] })],
    ['their node placement', configurationOf({ nodePlacement: { nodeSelector: { a: 'b' } } })],
    ['their resources', configurationOf({ resources: {} })],
    ['Redis', configurationOf({ redis: { url: 'redis://other' } })],
  ])('The pods of the brokers are replaced when %s changes', (_what, configuration) => {
    expect(template(configuration)).not.toBe(template());
  });
});

describe('Redis from a Secret', () => {
  const configuration = configurationOf({ redis: redisSecret });
  const of = (objects: Parameters<typeof secret>[1] | undefined) =>
    plan(configuration, {
      objects: [
        ...(objects === undefined ? [] : [secret('redis-url', objects)]),
        secret('redis-ca', { 'ca.crt': 'PEM' }),
        secret('cluster-proxy-replica-key', {
          key: 'a key that nobody who reads Deployments knows',
        }),
      ],
    });
  const hashOf = (from: ReturnType<typeof plan>) =>
    fields(fields(podOf(from)['metadata'])['annotations'])[
      'proxy.open-cluster-management.io/redis-url-hash'
    ];

  it('The URL of Redis from a Secret is in the environment, not in the command line', () => {
    const from = of({ url });
    expect(containerOf(from)['env']).toContainEqual({
      name: 'CULVERT_REDIS_URL',
      valueFrom: { secretKeyRef: { name: 'redis-url', key: 'url' } },
    });
    expect(argsOf(from).join(' ')).not.toContain('--redis-url');
    expect(argsOf(from)).toContain('--redis-ca=/etc/redis-ca/ca.crt');
    expect(JSON.stringify(from.apply.filter(({ kind }) => kind !== 'Secret'))).not.toContain(
      'pass@',
    );
  });

  it('A change of the Secret with the URL of Redis replaces the pods, and the Deployment does not reveal the content', () => {
    expect(hashOf(of({ url }))).toMatch(/^[0-9a-f]{16}$/);
    expect(hashOf(of({ url }))).toBe(hashOf(of({ url, more: 'x' })));
    expect(hashOf(of({ url: 'redis://:new@redis' }))).not.toBe(hashOf(of({ url })));
    const otherKey = plan(configuration, { objects: redisObjects });
    expect(hashOf(otherKey)).not.toBe(hashOf(of({ url })));
  });

  it.each([
    [undefined, `names Secret ${hub}/redis-url, which does not exist; create it with the key url`],
    [{ uri: url }, `names the key url, which Secret ${hub}/redis-url does not have; add it`],
  ])(
    'A missing Secret with the URL of Redis (%j) is reported by name, and the hub is still deployed',
    (data, sentence) => {
      const from = of(data);
      expect(from.problems).toEqual([{ field: 'spec.proxyServer.redis.secretRef', sentence }]);
      expect(from.apply.map(({ kind }) => kind)).toContain('Deployment');
    },
  );

  it("A missing Secret of Redis from the addon manager's option is reported with the name of that option", () => {
    const own = {
      url: undefined,
      secretRef: { name: 'gone', key: 'url' },
      caSecretRef: { name: 'gone', key: 'ca.crt' },
      prefix: 'culvert:',
    };
    const { problems } = plan(configurationOf(), { settings: { redis: own } });
    expect(problems.map(({ field }) => field)).toEqual([
      'the option --redis-secret-name of the addon manager',
      'the option --redis-ca-secret-name of the addon manager',
    ]);
  });

  it("The Secret of Redis in the configuration takes precedence over the addon manager's option", () => {
    const from = plan(configurationOf({ redis: { url: 'redis://own', prefix: 'own:' } }), {
      settings: { redis },
    });
    expect(argsOf(from)).toEqual(
      expect.arrayContaining(['--redis-url=redis://own', '--redis-prefix=own:']),
    );
  });
});
