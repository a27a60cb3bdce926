import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { RejectionCounts } from '../app.ts';
import type { Hub } from '../hub.ts';

/** The broker's metrics, read from what it holds when somebody asks; the one door to prom-client. */
export function createMetrics(hub: Hub, rejections: RejectionCounts): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, read: () => number): void => {
    void new Gauge({
      name: `culvert_broker_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  // Totals that the hub counts itself: prom-client keeps its own copy only between two scrapes.
  const total = (name: string, help: string, read: () => number): void => {
    void new Counter({
      name: `culvert_broker_${name}_total`,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  gauge('agents', 'Agents whose tunnel this broker holds', () => hub.agentCount);
  gauge('sessions', 'Sessions of dialers that this broker carries', () => hub.dialerCount);
  gauge('draining', '1 while this broker shuts down', () => (hub.draining ? 1 : 0));
  total('relayed_bytes', 'Bytes of payload passed on in either direction', () => hub.relayedBytes);
  total('dropped_frames', 'Frames for sessions that had ended', () => hub.droppedFrames);
  void new Counter({
    name: 'culvert_broker_rejected_connections_total',
    help: 'Connections that were refused before the upgrade, by HTTP status',
    labelNames: ['status'],
    registers: [registry],
    collect() {
      this.reset();
      for (const [status, count] of rejections.byStatus) this.inc({ status }, count);
    },
  });
  return registry;
}
