import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readAddonOptions } from '../../src/addon/options.ts';
import { ConfigError } from '../../src/base/options/option-problems.ts';
import type { Env } from '../../src/base/options/option-table.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-addon-options-'));
const kubeconfig = join(folder, 'kubeconfig');
writeFileSync(kubeconfig, 'x');
afterAll(() => rmSync(folder, { recursive: true }));

const pod: Env = { POD_NAMESPACE: 'hub-ns', POD_NAME: 'manager-0' };
const read = (...argv: string[]) => readAddonOptions(argv, pod);

function problemsOf(argv: readonly string[], env: Env = pod): readonly string[] {
  try {
    readAddonOptions(argv, env);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe('readAddonOptions', () => {
  it("readAddonOptions has the defaults of Cluster Proxy's manager", () => {
    expect(read()).toEqual({
      options: {
        kubeconfig: undefined,
        namespace: 'hub-ns',
        identity: 'manager-0',
        metricsListen: { port: 58080 },
        healthListen: { port: 58081 },
        leaderElect: false,
        signerSecretNamespace: 'default',
        signerSecretName: 'cluster-proxy-signer',
        agentImage: undefined,
        enableKubeApiProxy: true,
        enableImpersonation: true,
        enableServiceProxy: true,
        exposedServicesConfigmap: 'cluster-proxy-exposed-services',
        features: new Set(),
        enableNetworkPolicies: false,
        apiServerPorts: [],
        agentInstallNamespace: 'open-cluster-management-cluster-proxy',
        imagePullPolicy: 'IfNotPresent',
        imagePullSecrets: [],
        redis: undefined,
      },
      logLevel: 'info',
      warnings: [],
    });
    expect(Object.isFrozen(read().options)).toBe(true);
  });

  it.each([
    [['--metrics-bind-address=127.0.0.1:9'], { metricsListen: { host: '127.0.0.1', port: 9 } }],
    [['--metrics-bind-address', ':9'], { metricsListen: { port: 9 } }],
    [['--metrics-bind-address=0'], { metricsListen: undefined }],
    [['--health-probe-bind-address=[::1]:8'], { healthListen: { host: '::1', port: 8 } }],
    [['--health-probe-bind-address=:8'], { healthListen: { port: 8 } }],
    [['--leader-elect'], { leaderElect: true }],
    [['--leader-elect=true'], { leaderElect: true }],
    [['--leader-elect=false'], { leaderElect: false }],
    [['--signer-secret-namespace=other'], { signerSecretNamespace: 'other' }],
    [['--signer-secret-name=my.signer'], { signerSecretName: 'my.signer' }],
    [['--agent-image-name=reg.example:5000/a/b:v1'], { agentImage: 'reg.example:5000/a/b:v1' }],
    [['--enable-kube-api-proxy=false'], { enableKubeApiProxy: false }],
    [['--enable-network-policies=true'], { enableNetworkPolicies: true }],
    [['--api-server-ports=6443', '--api-server-ports', '8443'], { apiServerPorts: [6443, 8443] }],
    [['--agent-install-namespace=spoke'], { agentInstallNamespace: 'spoke' }],
    [['--image-pull-secrets=a', '--image-pull-secrets', 'b'], { imagePullSecrets: ['a', 'b'] }],
    [['--image-pull-policy=Always'], { imagePullPolicy: 'Always' }],
    [['--feature-gates=ClusterProfile=true'], {}],
    [['--feature-gates=ClusterProfile=true,ClusterProfile=false'], {}],
    [
      ['--redis-url=rediss://r:6380', '--redis-ca-secret-name=ca'],
      {
        redis: {
          url: 'rediss://r:6380',
          secretRef: undefined,
          caSecretRef: { name: 'ca', key: 'ca.crt' },
          prefix: 'culvert:',
        },
      },
    ],
    [
      ['--redis-secret-name=cluster-proxy-redis'],
      { redis: { url: undefined, secretRef: { name: 'cluster-proxy-redis', key: 'url' } } },
    ],
    [['--kubeconfig', kubeconfig], { kubeconfig }],
  ])('readAddonOptions reads %j', (argv, expected) => {
    expect(read(...argv).options).toMatchObject(expected);
  });

  it.each([
    [
      '--metrics-bind-addres=:1',
      'unknown option --metrics-bind-addres, did you mean --metrics-bind-address?',
    ],
    ['--v=high', '--v=high is not valid, it must match ^\\d+$'],
    ['--version', 'unknown option --version'],
    [
      '--metrics-bind-address=58080',
      '--metrics-bind-address="58080" is not [HOST]:PORT (:58080, 127.0.0.1:58080), nor 0 for nowhere',
    ],
    [
      '--health-probe-bind-address=:99999',
      '--health-probe-bind-address=":99999" is not [HOST]:PORT (:58080, 127.0.0.1:58080), nor 0 for nowhere',
    ],
    ['--leader-elect=yes', '--leader-elect="yes" is neither true nor false'],
    [
      '--image-pull-policy=always',
      '--image-pull-policy="always" is none of Always, IfNotPresent, Never, did you mean Always?',
    ],
    [
      '--feature-gates=ClusterProfil=true',
      '--feature-gates names "ClusterProfil", which is no feature gate, did you mean ClusterProfile?; known: ClusterProfile',
    ],
    ['--feature-gates=ClusterProfile', '--feature-gates: ClusterProfile is true or false, not ""'],
    [
      '--signer-secret-name=No_Secret',
      '--signer-secret-name is "No_Secret", the name of an object is needed: lower case letters, digits, hyphens and dots',
    ],
    [
      '--image-pull-secrets=No',
      '--image-pull-secrets is "No", the name of an object is needed: lower case letters, digits, hyphens and dots',
    ],
    [
      '--agent-install-namespace=a.b',
      '--agent-install-namespace="a.b" is not a DNS label (lower case letters, digits and inner hyphens, at most 63)',
    ],
  ])('readAddonOptions refuses %s', (flag, problem) => {
    expect(problemsOf([flag])).toEqual([problem]);
  });

  it('readAddonOptions does not repeat a password, and accepts only one Redis', () => {
    expect(problemsOf(['--redis-url=redis://:hunter2@r:6379', '--redis-secret-name=s'])).toEqual([
      '--redis-url carries a user or password: put the whole URL into a Secret and name it in secretRef',
      '--redis-url and --redis-secret-name both name a Redis, keep one',
    ]);
    expect(problemsOf(['--redis-ca-secret-name=s'])).toEqual([
      '--redis-ca-secret-name needs --redis-url or --redis-secret-name as well',
    ]);
  });

  it('readAddonOptions requires its namespace', () => {
    expect(problemsOf([], {})).toEqual([
      expect.stringMatching(/^POD_NAMESPACE is not set: .*fieldRef/),
    ]);
  });

  it('readAddonOptions generates an identity outside of a pod', () => {
    const identity = () => readAddonOptions([], { POD_NAMESPACE: 'n' }).options.identity;
    expect(identity()).toMatch(/-[0-9a-f]{8}$/);
    expect(identity()).not.toBe(identity());
  });

  it('readAddonOptions gives the feature gates that are on', () => {
    const { options, warnings } = read('--feature-gates=ClusterProfile=true');
    expect(options.features).toEqual(new Set(['ClusterProfile']));
    expect(warnings).toEqual([]);
    expect(read('--feature-gates=ClusterProfile=false').options.features).toEqual(new Set());
  });

  it.each([
    [['--v=4'], 'debug'],
    [['-v', '2', '--leader-elect'], 'info'],
    [['--v=4', '--log-level=warn'], 'warn'],
    [['--log-level', 'error', '-v=9'], 'error'],
  ])(
    "readAddonOptions takes klog's verbosity, %j, as %s, and suggests its own option",
    (argv, logLevel) => {
      const { logLevel: read, warnings } = readAddonOptions(argv, pod);
      expect(read).toBe(logLevel);
      expect(warnings).toEqual([expect.stringMatching(/^--v is --log-level=(debug|info) here/)]);
    },
  );

  it("readAddonOptions accepts klog's other flags, and reports that they have no effect", () => {
    const klog = ['--logtostderr', '--stderrthreshold', '2', '--vmodule=a=1', '-log_dir=/x'];
    const { options, warnings } = read(...klog, '--leader-elect');
    expect(options.leaderElect).toBe(true);
    expect(warnings).toHaveLength(4);
    expect(warnings[0]).toMatch(/^--logtostderr: logs are lines of JSON .*; remove it$/);
  });

  it('readAddonOptions accepts variables as well as flags', () => {
    const env = { ...pod, CULVERT_METRICS_BIND_ADDRESS: ':7', CULVERT_LEADER_ELECT: 'true' };
    expect(readAddonOptions([], env).options).toMatchObject({
      metricsListen: { port: 7 },
      leaderElect: true,
    });
  });
});
