import { problemOf } from '../../base/options/read-options.ts';
import type { Option } from '../../base/options/option-table.ts';
import type { FlagRule, FlagRules } from './additional-args.ts';
import type { TextCheck } from '../api/field-problem.ts';
import {
  agentPassthroughTable,
  brokerPassthroughTable,
} from '../../base/options/passthrough-options.ts';

const only =
  (form: RegExp): TextCheck =>
  (text) =>
    form.test(text) ? undefined : `is not valid, it must match ${form.source}`;
const goDuration = only(/^(\d+(\.\d+)?(h|m|s|ms|us|µs|ns))+$|^0$/);
const number = only(/^\d+$/);

/** A rule for an option of culvert itself. The option's own parser validates the value. */
const own = (option: Option): FlagRules => ({
  [option.name]: {
    kind: 'mapped',
    check: (text) => problemOf(option, text),
    to: (value) => ({ name: option.name, value }),
  },
});
const ignored = (reason: string, check?: TextCheck): FlagRule => ({
  kind: 'ignored',
  reason,
  ...(check && { check }),
});
const refused = (reason: string): FlagRule => ({ kind: 'refused', reason });

const all = (rule: FlagRule, names: string): FlagRules =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]));

const verbosity: FlagRule = {
  kind: 'mapped',
  check: number,
  to: (text) => ({ name: 'log-level', value: Number(text) >= 4 ? 'debug' : 'info' }),
};
const logFile = ignored('logs are lines of JSON on the standard output');
const channels = ignored('flow control is per stream and needs no such setting');
const pings = ignored('links are probed every few seconds, and the interval is fixed');
const leases = ignored('replicas find each other in Redis');
const diagnostics = ignored('there is no admin port');
const files = refused('the addon mounts its own certificates and sets this itself');

const { drainTimeoutMs: drainTimeout } = brokerPassthroughTable;

/** The flags of klog, which all programs of Kubernetes accept. */
export const klogFlags: FlagRules = {
  v: verbosity,
  ...all(
    logFile,
    'logtostderr alsologtostderr stderrthreshold vmodule log_backtrace_at log_dir log_file log_file_max_size one_output ' +
      'add_dir_header skip_headers skip_log_headers logging-format log-flush-frequency',
  ),
};

const common: FlagRules = {
  ...klogFlags,
  ...all(pings, 'keepalive-time'),
  ...all(channels, 'xfr-channel-size warn-on-channel-limit'),
  ...all(leases, 'lease-namespace lease-label'),
  ...all(
    diagnostics,
    'enable-profiling enable-contention-profiling admin-bind-address kube-api-content-type',
  ),
  ...own(brokerPassthroughTable.logLevel),
  ...own(drainTimeout),
};

/**
 * Rules for `spec.proxyServer.additionalArgs`: every flag of konnectivity's proxy-server, and the
 * flags of `culvert broker` that an operator may set. A flag without a rule is refused.
 */
export const proxyServerFlags: FlagRules = {
  ...common,
  ...own(brokerPassthroughTable.acceptRate),
  ...own(brokerPassthroughTable.maxConnections),
  ...own(brokerPassthroughTable.maxTunnelsPerCluster),
  ...own(brokerPassthroughTable.trustedProxies),
  ...own(brokerPassthroughTable.cipherSuites),
  ...own(brokerPassthroughTable.tlsMinVersion),
  'graceful-shutdown-timeout': {
    kind: 'mapped',
    check: (text) => goDuration(text) ?? problemOf(drainTimeout, `${goDurationMs(text)}ms`),
    to(text) {
      const ms = goDurationMs(text);
      return ms === 0 ? undefined : { name: 'drain-timeout', value: `${ms}ms` };
    },
  },
  ...all(pings, 'frontend-keepalive-time'),
  ...all(leases, 'enable-lease-controller server-id'),
  'server-count': ignored('the number of servers is spec.proxyServer.replicas', number),
  'backend-dial-timeout': ignored('the --dial-timeout of the agent limits the time of a dial'),
  'proxy-strategies': ignored('a destination names its cluster', only(/(^|,)destHost(,|$)/)),
  mode: ignored('konnectivity clients always use gRPC', only(/^grpc$/)),
  'server-port': ignored('the port is fixed', only(/^8090$/)),
  'agent-port': ignored('the port is fixed', only(/^8091$/)),
  'health-port': ignored('the port is fixed', only(/^8092$/)),
  ...all(diagnostics, 'admin-port kubeconfig-qps kubeconfig-burst delete-existing-uds-file'),
  ...all(
    files,
    'server-cert server-key server-ca-cert cluster-cert cluster-key cluster-ca-cert kubeconfig',
  ),
  ...all(
    refused('the Services and the probes connect to the address of the pod'),
    'server-bind-address agent-bind-address health-bind-address uds-name',
  ),
  ...all(
    refused('agents authenticate with the certificate or token of their registration'),
    'agent-namespace agent-service-account authentication-audience',
  ),
  'token-public-key': refused(
    'spec.proxyServer.enrolmentKeysSecretRef names a Secret with the keys',
  ),
};

/**
 * Rules for `spec.proxyAgent.additionalArgs`: every flag of konnectivity's proxy-agent, and the
 * flags of `culvert agent` that an operator may set. A flag without a rule is refused.
 */
export const proxyAgentFlags: FlagRules = {
  ...common,
  ...own(agentPassthroughTable.dialTimeoutMs),
  ...own(agentPassthroughTable.tunnels),
  ...own(agentPassthroughTable.allow),
  ...own(agentPassthroughTable.kubeApiserver),
  ...all(
    ignored('an agent reconnects automatically, with its own backoff'),
    'sync-interval sync-interval-cap probe-interval sync-forever',
  ),
  ...all(leases, 'count-server-leases server-count-source'),
  ...all(diagnostics, 'admin-server-port health-server-host health-server-port'),
  'agent-id': ignored('agents are named after their pods'),
  ...all(files, 'agent-cert agent-key ca-cert kubeconfig service-account-token-path'),
  ...all(
    refused('agents connect to the address in spec.proxyServer.entrypoint'),
    'proxy-server-host proxy-server-port',
  ),
  'agent-identifiers': refused(
    'an agent serves only its own cluster; list other destinations in spec.proxyAgent.allow',
  ),
  'alpn-proto': refused('agents use HTTP/1.1; route their connections by host name instead'),
};

const goUnitsMs = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
} as const;

/**
 * Converts a duration as Go writes it (`1m30s`) to whole milliseconds. It rounds up, so that a
 * short duration does not become 0, which has a meaning of its own.
 */
function goDurationMs(text: string): number {
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    ms += Number(amount) * goUnitsMs[unit as keyof typeof goUnitsMs];
  }
  return Math.ceil(ms);
}
