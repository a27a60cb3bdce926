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
export const goDurationCheck = only(/^(\d+(\.\d+)?(h|m|s|ms|us|µs|ns))+$|^0$/);
const number = only(/^\d+$/);

const { drainTimeoutMs: drainTimeout, ...broker } = brokerPassthroughTable;
const agent = agentPassthroughTable;

const all = (names: string, rule: FlagRule): FlagRules =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]));
/** Rules for flags, with spaces between their names. */
export const ignored = (names: string, reason: string, check?: TextCheck): FlagRules =>
  all(names, { kind: 'ignored', reason, ...(check && { check }) });
export const refused = (names: string, reason: string): FlagRules =>
  all(names, { kind: 'refused', reason });
/** Rules for options of culvert itself. The option's own parser validates the value. */
const own = (...options: readonly Option[]): FlagRules => {
  const rule = (option: Option): FlagRule => ({
    kind: 'mapped',
    check: (text) => problemOf(option, text),
    to: (value) => ({ name: option.name, value }),
  });
  return Object.fromEntries(options.map((option) => [option.name, rule(option)]));
};

const pings = 'links are probed every few seconds, and the interval is fixed';
const leases = 'replicas find each other in Redis';
const diagnostics = 'there is no admin port';
const files = 'the addon mounts its own certificates and sets this itself';

const klogNames =
  'logtostderr alsologtostderr alsologtostderrthreshold stderrthreshold legacy_stderr_threshold_behavior vmodule ' +
  'log_backtrace_at log_dir log_file log_file_max_size one_output add_dir_header skip_headers skip_log_headers';

/**
 * The flags of klog, which all programs of Kubernetes accept. Some programs write underscores in
 * their names, and the programs of konnectivity hyphens.
 */
export const klogFlags: FlagRules = {
  v: {
    kind: 'mapped',
    check: number,
    to: (text) => ({ name: 'log-level', value: Number(text) >= 4 ? 'debug' : 'info' }),
  },
  ...ignored(
    `${klogNames} ${klogNames.replaceAll('_', '-')} logging-format log-flush-frequency`,
    'logs are lines of JSON on the standard output',
  ),
};

const common: FlagRules = {
  ...klogFlags,
  ...ignored('keepalive-time', pings),
  ...ignored(
    'xfr-channel-size warn-on-channel-limit',
    'flow control is per stream and needs no such setting',
  ),
  ...ignored('lease-namespace lease-label', leases),
  ...ignored(
    'enable-profiling enable-contention-profiling admin-bind-address kube-api-content-type',
    diagnostics,
  ),
  ...own(broker.logLevel, drainTimeout),
};

/**
 * Rules for `spec.proxyServer.additionalArgs`: every flag of konnectivity's proxy-server, and the
 * flags of `culvert broker` that an operator may set. A flag without a rule is refused.
 */
export const proxyServerFlags: FlagRules = {
  ...common,
  ...own(broker.acceptRate, broker.maxConnections, broker.maxTunnelsPerCluster),
  ...own(broker.trustedProxies, broker.cipherSuites, broker.tlsMinVersion),
  'graceful-shutdown-timeout': {
    kind: 'mapped',
    check: (text) => goDurationCheck(text) ?? problemOf(drainTimeout, `${goDurationMs(text)}ms`),
    to(text) {
      const ms = goDurationMs(text);
      return ms === 0 ? undefined : { name: 'drain-timeout', value: `${ms}ms` };
    },
  },
  ...ignored('frontend-keepalive-time', pings),
  ...ignored('enable-lease-controller server-id', leases),
  ...ignored('server-count', 'the number of servers is spec.proxyServer.replicas', number),
  ...ignored('backend-dial-timeout', 'the --dial-timeout of the agent limits the time of a dial'),
  ...ignored('proxy-strategies', 'a destination names its cluster', only(/(^|,)destHost(,|$)/)),
  ...ignored('mode', 'konnectivity clients always use gRPC', only(/^grpc$/)),
  ...ignored('server-port', 'the port is fixed', only(/^8090$/)),
  ...ignored('agent-port', 'the port is fixed', only(/^8091$/)),
  ...ignored('health-port', 'the port is fixed', only(/^8092$/)),
  ...ignored('admin-port kubeconfig-qps kubeconfig-burst delete-existing-uds-file', diagnostics),
  ...refused(
    'server-cert server-key server-ca-cert cluster-cert cluster-key cluster-ca-cert kubeconfig',
    files,
  ),
  ...refused(
    'server-bind-address agent-bind-address health-bind-address uds-name',
    'the Services and the probes connect to the address of the pod',
  ),
  ...refused(
    'agent-namespace agent-service-account authentication-audience',
    'agents authenticate with the certificate or token of their registration',
  ),
  ...refused(
    'token-public-key',
    'spec.proxyServer.enrolmentKeysSecretRef names a Secret with the keys',
  ),
};

/**
 * Rules for `spec.proxyAgent.additionalArgs`: every flag of konnectivity's proxy-agent, and the
 * flags of `culvert agent` that an operator may set. A flag without a rule is refused.
 */
export const proxyAgentFlags: FlagRules = {
  ...common,
  ...own(agent.dialTimeoutMs, agent.tunnels, agent.allow, agent.kubeApiserver),
  ...ignored(
    'sync-interval sync-interval-cap probe-interval sync-forever',
    'an agent reconnects automatically, with its own backoff',
  ),
  ...ignored('count-server-leases server-count-source', leases),
  ...ignored('admin-server-port health-server-host health-server-port', diagnostics),
  ...ignored('agent-id', 'agents are named after their pods'),
  ...refused('agent-cert agent-key ca-cert kubeconfig service-account-token-path', files),
  ...refused(
    'proxy-server-host proxy-server-port',
    'agents connect to the address in spec.proxyServer.entrypoint',
  ),
  ...refused(
    'agent-identifiers',
    'an agent serves only its own cluster; list other destinations in spec.proxyAgent.allow',
  ),
  ...refused('alpn-proto', 'agents use HTTP/1.1; route their connections by host name instead'),
};

const unitsMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 } as const;

/**
 * Converts a duration as Go writes it (`1m30s`) to whole milliseconds. It rounds up, so that a
 * short duration does not become 0, which has a meaning of its own.
 */
function goDurationMs(text: string): number {
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    ms += Number(amount) * unitsMs[unit as keyof typeof unitsMs];
  }
  return Math.ceil(ms);
}
