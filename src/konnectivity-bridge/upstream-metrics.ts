import type { BridgeMetrics } from './metrics.ts';

/** Metrics with labels, as upstream's names need them. */
export interface UpstreamMetrics extends BridgeMetrics {
  gauges(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string, number]>,
  ): void;
}

/**
 * Metrics of konnectivity's proxy-server 0.36 that the bridge has too: our name, and upstream's
 * name, help and labels. Upstream's help texts are part of its interface, because its tests compare
 * them.
 */
const gauges: Readonly<Record<string, { readonly help: string; readonly method?: string }>> = {
  grpc_connections: {
    help: 'Number of current grpc connections, partitioned by service method.',
    method: 'Proxy',
  },
  http_connections: { help: 'Number of current HTTP CONNECT connections' },
  pending_backend_dials: { help: 'Current number of pending backend dial requests' },
  established_connections: {
    help: 'Current number of established end-to-end connections (post-dial).',
  },
};
const counters: Readonly<Record<string, string>> = {
  dial_failure_count:
    'Number of dial failures observed. Multiple failures can occur for a single dial request.',
};

const histograms: Readonly<Record<string, string>> = {
  dial_duration_seconds: 'Latency of dial to the remote endpoint in seconds',
  frontend_write_duration_seconds: 'Latency of write to the frontend in seconds',
  connection_duration_seconds: 'Duration of established end-to-end connections in seconds',
};

/**
 * Publishes the bridge's metrics under its own names, and those that upstream has also under
 * upstream's names, so that dashboards and alerts keep working.
 *
 * @param upstream the group `konnectivity_network_proxy_server`
 */
export function withUpstreamNames(own: BridgeMetrics, upstream: UpstreamMetrics): BridgeMetrics {
  return {
    gauge(name, help, read) {
      own.gauge(name, help, read);
      const same = gauges[name];
      if (same === undefined) return;
      const { method } = same;
      if (method === undefined) upstream.gauge(name, same.help, read);
      else upstream.gauges(name, same.help, 'service_method', () => [[method, read()]]);
    },
    counter(name, help, label) {
      const count = own.counter(name, help, label);
      const sameHelp = counters[name];
      if (sameHelp === undefined) return count;
      const countUpstream = upstream.counter(name, sameHelp, label);
      return (value) => {
        count(value);
        countUpstream(value);
      };
    },
    histogram(name, help, buckets) {
      const record = own.histogram(name, help, buckets);
      const sameHelp = histograms[name];
      if (sameHelp === undefined) return record;
      const recordUpstream = upstream.histogram(name, sameHelp, buckets);
      return (value) => {
        record(value);
        recordUpstream(value);
      };
    },
  };
}
