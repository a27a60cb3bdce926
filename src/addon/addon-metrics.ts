import process from 'node:process';
import type { ControllerStatus } from './controller/controller.ts';
import type { CsrCounts } from './controllers/csr-controller.ts';

/** What an addon manager counts, at one moment. */
export interface AddonNumbers {
  readonly isLeading: boolean;
  readonly clusters: number;
  readonly controllers: readonly ControllerStatus[];
  readonly requests: CsrCounts;
}

type Sample = readonly [labels: string, value: number];

/** The text of /metrics. */
export function addonMetrics(numbers: AddonNumbers): {
  readonly contentType: string;
  readonly text: string;
} {
  const lines: string[] = [];
  const add = (
    type: 'gauge' | 'counter',
    name: string,
    help: string,
    samples: readonly Sample[],
  ) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) lines.push(`${name}${labels} ${value}`);
  };
  const each = (field: keyof ControllerStatus): readonly Sample[] =>
    numbers.controllers.map((status) => [`{controller="${status.name}"}`, Number(status[field])]);
  const { user, system } = process.cpuUsage();
  const own = 'culvert_addon';
  add('gauge', `${own}_leading`, '1 while this process leads', [['', Number(numbers.isLeading)]]);
  add('gauge', `${own}_clusters`, 'Clusters that have the addon', [['', numbers.clusters]]);
  add('gauge', `${own}_queue_depth`, 'Keys that wait for a worker', each('depth'));
  add('gauge', `${own}_failing_keys`, 'Keys whose last attempt failed', each('failing'));
  add('counter', `${own}_reconciled_total`, 'Attempts that succeeded', each('reconciled'));
  add('counter', `${own}_retries_total`, 'Attempts that failed', each('retries'));
  add(
    'counter',
    `${own}_signing_requests_total`,
    'Certificate signing requests, by what became of them',
    Object.entries(numbers.requests).map(([result, count]) => [`{result="${result}"}`, count]),
  );
  add('counter', 'process_cpu_seconds_total', 'CPU time used', [['', (user + system) / 1e6]]);
  add('gauge', 'process_resident_memory_bytes', 'Resident memory', [
    ['', process.memoryUsage.rss()],
  ]);
  return { contentType: 'text/plain; version=0.0.4', text: `${lines.join('\n')}\n` };
}
