import { describe, expect, it } from 'vitest';
import { type FlagRules, readAdditionalArgs } from '../../../src/addon/compat/additional-args.ts';
import {
  proxyAgentFlags,
  proxyServerFlags,
} from '../../../src/addon/compat/additional-args-table.ts';
import { serviceProxyFlags } from '../../../src/addon/compat/service-proxy-args.ts';

const read = (rules: FlagRules, ...args: string[]) => readAdditionalArgs(args, rules, 'args');

const tables = { proxyServer: proxyServerFlags, proxyAgent: proxyAgentFlags } as const;

/** The flags of klog. The programs of konnectivity have hyphens in them, others underscores. */
const klog =
  'add_dir_header alsologtostderr alsologtostderrthreshold legacy_stderr_threshold_behavior log_backtrace_at log_dir log_file ' +
  'log_file_max_size logtostderr one_output skip_headers skip_log_headers stderrthreshold v vmodule';
/** All flags of the two programs of konnectivity 0.36, except those of klog. */
const proxyServer =
  'server-cert server-key server-ca-cert cluster-cert cluster-key cluster-ca-cert mode uds-name delete-existing-uds-file server-port ' +
  'server-bind-address agent-port agent-bind-address admin-port admin-bind-address health-port health-bind-address keepalive-time ' +
  'frontend-keepalive-time enable-profiling enable-contention-profiling server-id server-count agent-namespace agent-service-account ' +
  'kubeconfig kubeconfig-qps kubeconfig-burst kube-api-content-type authentication-audience proxy-strategies cipher-suites ' +
  'tls-min-version xfr-channel-size enable-lease-controller lease-namespace lease-label graceful-shutdown-timeout backend-dial-timeout ' +
  'warn-on-channel-limit';
const proxyAgent =
  'agent-cert agent-key ca-cert proxy-server-host proxy-server-port alpn-proto health-server-host health-server-port admin-server-port ' +
  'admin-bind-address enable-profiling enable-contention-profiling agent-id sync-interval probe-interval sync-interval-cap keepalive-time ' +
  'service-account-token-path agent-identifiers warn-on-channel-limit sync-forever xfr-channel-size count-server-leases lease-namespace ' +
  'lease-label server-count-source kubeconfig kube-api-content-type';

describe('readAdditionalArgs', () => {
  it.each([
    ['proxy-server', proxyServerFlags, proxyServer],
    ['proxy-agent', proxyAgentFlags, proxyAgent],
    ['proxy-server', proxyServerFlags, klog.replaceAll('_', '-')],
    ['proxy-agent', proxyAgentFlags, klog.replaceAll('_', '-')],
    ['service-proxy', serviceProxyFlags, klog],
  ])('readAdditionalArgs knows every flag of the %s', (_program, rules, flags) => {
    expect(flags.split(' ').filter((flag) => !(flag in rules))).toEqual([]);
  });

  it.each<[keyof typeof tables, string, string]>([
    ['proxyServer', '--v=4', 'log-level=debug'],
    ['proxyServer', '-v=2', 'log-level=info'],
    ['proxyServer', '--graceful-shutdown-timeout=1m30s', 'drain-timeout=90000ms'],
    ['proxyServer', '--graceful-shutdown-timeout=1.5h', 'drain-timeout=5400000ms'],
    [
      'proxyServer',
      '--cipher-suites=TLS_AES_128_GCM_SHA256',
      'cipher-suites=TLS_AES_128_GCM_SHA256',
    ],
    ['proxyServer', '--tls-min-version=VersionTLS13', 'tls-min-version=VersionTLS13'],
    ['proxyServer', '--accept-rate=50', 'accept-rate=50'],
    ['proxyServer', '--drain-timeout=2m', 'drain-timeout=2m'],
    ['proxyAgent', '--dial-timeout=2s', 'dial-timeout=2s'],
    ['proxyAgent', '--tunnels=1', 'tunnels=1'],
    ['proxyAgent', '--allow=db.svc:5432', 'allow=db.svc:5432'],
    ['proxyAgent', '--kube-apiserver=10.0.0.1:6443', 'kube-apiserver=10.0.0.1:6443'],
    ['proxyAgent', '--log-level=warn', 'log-level=warn'],
  ])('readAdditionalArgs maps %s %s to %s', (program, arg, flag) => {
    const { flags, ignored, problems } = read(tables[program], arg);
    expect(problems).toEqual([]);
    expect(ignored).toEqual([]);
    expect(flags.map(({ name, value }) => `${name}=${value}`)).toEqual([flag]);
  });

  it.each<[keyof typeof tables, string[]]>([
    ['proxyServer', ['--keepalive-time=30s']],
    ['proxyServer', ['--server-count=3']],
    ['proxyServer', ['--proxy-strategies=destHost,default']],
    ['proxyServer', ['--mode=grpc']],
    ['proxyServer', ['--server-port=8090']],
    ['proxyServer', ['--enable-profiling']],
    ['proxyServer', ['--xfr-channel-size', '100']],
    ['proxyAgent', ['--sync-forever']],
    ['proxyAgent', ['--alsologtostderr']],
  ])('readAdditionalArgs accepts %s %j without effect', (program, args) => {
    const { flags, ignored, problems } = read(tables[program], ...args);
    expect(problems).toEqual([]);
    expect(flags).toEqual([]);
    expect(ignored.map(({ field }) => field)).toEqual(['args[0]']);
  });

  it.each<[keyof typeof tables, string, RegExp]>([
    ['proxyServer', '--mode=http-connect', /--mode=http-connect is not valid/],
    ['proxyServer', '--proxy-strategies=default', /--proxy-strategies=default is not valid/],
    ['proxyServer', '--agent-port=9091', /--agent-port=9091 is not valid/],
    ['proxyServer', '--cluster-ca-cert=/x', /mounts its own certificates/],
    ['proxyServer', '--authentication-audience=x', /agents authenticate with/],
    ['proxyServer', '--token-public-key=/x', /enrolmentKeysSecretRef names a Secret/],
    ['proxyServer', '--acept-rate=5', /--acept-rate is unknown, did you mean --accept-rate\?/],
    ['proxyServer', '--listen=0.0.0.0:1', /--listen is unknown/],
    ['proxyServer', '--drain-timeout=10', /--drain-timeout=10 needs a unit/],
    ['proxyServer', '--drain-timeout=99d', /--drain-timeout=99d is too long/],
    ['proxyServer', '--graceful-shutdown-timeout=999h', /is too long/],
    ['proxyServer', '--accept-rate=0', /--accept-rate=0 is too small, at least 1/],
    ['proxyServer', '--cipher-suites=TLS_FOO', /names TLS_FOO, which is no cipher suite/],
    ['proxyServer', '--tls-min-version=1.2', /--tls-min-version=1.2 is none of/],
    ['proxyServer', '--log-level=loud', /--log-level=loud is none of/],
    ['proxyServer', 'broker', /is "broker", a flag is needed/],
    ['proxyServer', '--constructor=1', /--constructor is unknown/],
    ['proxyAgent', '--agent-identifiers=host=cluster2', /serves only its own cluster/],
    ['proxyAgent', '--proxy-server-host=evil', /spec.proxyServer.entrypoint/],
    ['proxyAgent', '--tunnels=9', /--tunnels=9 is too large/],
    ['proxyAgent', '--dial-timeout=0s', /--dial-timeout=0s is too short/],
    ['proxyAgent', '--allow=foo', /--allow=foo is no destination/],
    ['proxyAgent', '--kube-apiserver=a:b:c', /--kube-apiserver=a:b:c is not HOST:PORT/],
    ['proxyAgent', '--token-file=/x', /--token-file is unknown/],
  ])('readAdditionalArgs refuses %s %s', (program, arg, sentence) => {
    const { flags, problems } = read(tables[program], arg);
    expect(flags).toEqual([]);
    expect(problems).toEqual([{ field: 'args[0]', sentence: expect.stringMatching(sentence) }]);
  });

  it('readAdditionalArgs takes a value from the next argument, as Go does', () => {
    const { flags, ignored } = read(
      proxyServerFlags,
      '--v',
      '5',
      '--enable-profiling',
      '--accept-rate',
      '7',
    );
    expect(flags).toEqual([
      { name: 'log-level', value: 'debug' },
      { name: 'accept-rate', value: '7' },
    ]);
    expect(ignored.map(({ field }) => field)).toEqual(['args[2]']);
  });

  it('readAdditionalArgs ignores a shutdown timeout of zero, and rounds up to 1 ms', () => {
    expect(read(proxyServerFlags, '--graceful-shutdown-timeout=0').flags).toEqual([]);
    expect(read(proxyServerFlags, '--graceful-shutdown-timeout=1us').flags).toEqual([
      { name: 'drain-timeout', value: '1ms' },
    ]);
  });
});
