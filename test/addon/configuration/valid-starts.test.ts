import { describe, expect, it } from 'vitest';
import { agentValues } from '../../../src/addon/cluster/agent-values.ts';
import { Diagnostics } from '../../../src/addon/api/diagnostics.ts';
import type { Fields } from '../../../src/addon/api/fields.ts';
import { readAgentOptions } from '../../../src/agent/options.ts';
import { ConfigError } from '../../../src/base/options/option-problems.ts';
import { readBrokerOptions } from '../../../src/cli/broker-options.ts';
import { agentInput } from '../cluster/agent-inputs.ts';
import { argsOf, configurationOf, plan, tlsProfile, secret } from '../hub/hub-fixture.ts';
import { agentArguments } from '../../../src/addon/cluster/agent-deployment.ts';

/** The problems of a program with its command line, except files that exist only in its pod. */
function problemsOf(read: (argv: readonly string[]) => unknown, [, ...argv]: readonly string[]) {
  try {
    read(argv);
    return [];
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return thrown.problems.filter((problem) => !problem.endsWith(' cannot be read: no such file'));
  }
}
const inPod = (text: string) =>
  text.replaceAll('$(POD_NAME)', 'pod-0').replaceAll('$(POD_IP)', '10.0.0.1');

/** The problems that broker and agent report about their command lines of a configuration. */
function started(configuration: ReturnType<typeof configurationOf>): readonly string[] {
  const withUsers = {
    settings: { enableServiceProxy: true },
    objects: [secret('cluster-proxy-user-serving-cert', {})],
  };
  const broker = argsOf(plan(configuration, withUsers)).map(inPod);
  const { allow, replicas, image, imagePullSecrets } = configuration.spec.proxyAgent;
  const proxy = {
    ...{ generation: 1, allow, replicas, image, imagePullSecrets },
    serviceCaConfigMap: 'service-ca',
    flags: configuration.agentFlags,
    serviceProxy: configuration.serviceProxy,
  };
  const values = agentValues(agentInput({ proxy, ...users }), new Diagnostics())!;
  return [
    ...problemsOf((argv) => readBrokerOptions(argv, {}), broker),
    ...problemsOf((argv) => readAgentOptions(argv, {}), agentArguments(values).map(inPod)),
  ];
}

/** The most flags that the settings for HTTP clients can give an agent. */
const users = { enableServiceProxy: true, enableImpersonation: false } as const;

type Row = [proxyServer: Fields, proxyAgent: Fields];
const server = (...additionalArgs: string[]): Row => [{ additionalArgs }, {}];
const agent = (...additionalArgs: string[]): Row => [{}, { additionalArgs }];
const allow = (...patterns: string[]): Row => [{}, { allow: patterns }];

describe('a configuration that is Valid', () => {
  it.each<Row>([
    [{}, {}],
    server('--accept-rate=1', '--drain-timeout=0s', '--log-level=error'),
    server('--v=9', '--graceful-shutdown-timeout=1h30m', '--tls-min-version=VersionTLS10'),
    server('--cipher-suites=TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_256_CBC_SHA'),
    agent('--tunnels=2', '--dial-timeout=1ms', '--drain-timeout=1h', '-v', '4'),
    agent('--kube-apiserver=[fd00::1]:6443', '--allow=db:1', '--allow=*.svc:*'),
    allow('10.0.0.0/8:443', '[fd00::]/8:*', '*:1', 'x:65535'),
  ])('A valid configuration starts its brokers and agents: %j, %j', (proxyServer, proxyAgent) => {
    const configuration = configurationOf(proxyServer, proxyAgent);
    expect(configuration.problems).toEqual([]);
    expect(started(configuration)).toEqual([]);
  });

  // The programs may accept any of these values. A configuration that they refuse is not valid.
  it.each([
    ...['0', '1', '-1', '1.5', '1e3', 'x', ''].map((rate) => server(`--accept-rate=${rate}`)),
    ...['0s', '0', '10', '1m30s', '24d', '25d', '9999d'].flatMap((time) => [
      server(`--drain-timeout=${time}`),
      server(`--graceful-shutdown-timeout=${time}`),
      agent(`--drain-timeout=${time}`),
      agent(`--dial-timeout=${time}`),
    ]),
    ...['TLS_FOO', 'TLS_AES_128_GCM_SHA256,TLS_FOO', 'constructor', 'tls', ','].map((suites) =>
      server(`--cipher-suites=${suites}`),
    ),
    ...['VersionTLS09', 'VersionTLS14', '1.2'].map((one) => server(`--tls-min-version=${one}`)),
    ...['0', '3', 'two'].map((tunnels) => agent(`--tunnels=${tunnels}`)),
    ...['loud', ''].map((level) => agent(`--log-level=${level}`)),
    ...['a:b', 'a:99999', '[x]', ''].map((host) => agent(`--kube-apiserver=${host}`)),
    ...['foo', 'x:99999', '10.0.0.0/99:443', '10.0.0.0/:443', '[fd00::]/200:1', 'a*:1'].flatMap(
      (pattern) => [agent(`--allow=${pattern}`), allow(pattern)],
    ),
  ])(
    'A configuration that brokers or agents would refuse is not valid: %j, %j',
    (proxyServer, proxyAgent) => {
      const configuration = configurationOf(proxyServer, proxyAgent);
      const isValid = configuration.problems.length === 0;
      expect(isValid ? started(configuration) : []).toEqual([]);
    },
  );

  it('A broker starts with every suite of a TLS profile that the addon does not skip', () => {
    const profile = tlsProfile({ cipherSuites: 'TLS_RSA_WITH_AES_128_CBC_SHA,TLS_FOO,toString' });
    const wanted = plan(configurationOf(), { tlsProfile: profile });
    expect(wanted.ignored).toHaveLength(2);
    const broker = argsOf(wanted).map(inPod);
    expect(problemsOf((argv) => readBrokerOptions(argv, {}), broker)).toEqual([]);
  });
});
