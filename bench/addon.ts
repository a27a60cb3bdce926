import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { fields, items } from '../src/addon/api/fields.ts';
import { trimToFingerprint } from '../src/addon/runtime/cached-object.ts';
import { Informer } from '../src/kube/controllers/informer.ts';
import type { KubeApi } from '../src/kube/client/kube-api.ts';
import type { KubeObject } from '../src/kube/client/kube-object.ts';
import { managerEnv, RealHub } from '../testkit/world/real-hub.ts';
import type { ApiServerProgram, Programs } from '../testkit/ground/kubernetes/programs.ts';
import { run } from '../testkit/ground/kubernetes/run.ts';
import { startProgram } from '../testkit/processes/process.ts';
import { cpuSeconds, residentBytes } from './cpu.ts';
import type { ScaleRow } from './report.ts';

const limitMs = 400_000;
const build = fileURLToPath(new URL('../scripts/build.ts', import.meta.url));
// Node's heap limit for the memory limit of the manager in the chart, 512Mi.
const asInContainer = ['--max-old-space-size=256', '--max-semi-space-size=1'];
const nowhere = ['--metrics-bind-address=0', '--health-probe-bind-address=0'];
const addonVersion = 'addon.open-cluster-management.io/v1alpha1';
const configuration = {
  apiVersion: 'proxy.open-cluster-management.io/v1alpha1',
  kind: 'ManagedProxyConfiguration',
  name: 'cluster-proxy',
};

/**
 * Measures the addon manager with many clusters on a real API server, without agents: a cold start,
 * a change of all clusters, and idle.
 */
export async function measureAddon(
  programs: Programs<ApiServerProgram>,
  count: number,
): Promise<ScaleRow[]> {
  await using hub = await RealHub.start(programs);
  using api = closing(hub.api('bench'));
  const { signal } = new AbortController();
  console.log(`making ${count} clusters ...`);
  await inParallel(count, 24, (index) => addCluster(api, `cluster-${index}`, signal));

  await using watched = new Watched(api);
  await watched.until(({ addOns }) => addOns.size === count);
  // The bundle, as in the image, so that no TypeScript is compiled.
  const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await run({ command: process.execPath, args: [build, directory] });
  console.log('starting the addon manager ...');
  const startedMs = performance.now();
  await using manager = startProgram({
    command: process.execPath,
    args: [...asInContainer, join(directory, 'culvert.mjs'), 'addon', ...nowhere, ...hub.argv],
    env: { ...managerEnv, CULVERT_LOG_LEVEL: 'warn' },
  });
  await watched.until(({ works, registered }) => works.size === count && registered.size === count);
  const coldMs = performance.now() - startedMs;
  const coldCpu = cpuSeconds([manager.pid]);
  await watched.quiet();
  const afterCold = residentBytes(manager.pid);

  console.log('changing the configuration ...');
  const before = new Map(
    watched.works
      .list()
      .map((work) => [work.metadata.name + work.metadata.namespace, work['fingerprint']]),
  );
  const changedMs = performance.now();
  const patch = { spec: { proxyAgent: { replicas: 5 } } };
  await api.patch(configuration, patch, { signal });
  const isChanged = (work: KubeObject) =>
    before.get(work.metadata.name + work.metadata.namespace) !== work['fingerprint'];
  await watched.until(({ works }) => works.list().every(isChanged));
  const fanOutMs = performance.now() - changedMs;
  await watched.quiet();
  const afterChange = residentBytes(manager.pid);

  console.log('looking at it while nothing happens ...');
  const idleSeconds = 30;
  const idleFrom = cpuSeconds([manager.pid]);
  await sleep(idleSeconds * 1000);
  const idle = (cpuSeconds([manager.pid]) - idleFrom) / idleSeconds;
  if (/"level":"(warn|error)"/.test(manager.output)) console.error(manager.output.slice(-2000));
  const mib = 1024 * 1024;
  return [
    {
      figure: `seconds until ${count} clusters have their agents, from cold`,
      value: coldMs / 1000,
      atMost: 120,
    },
    { figure: 'CPU seconds of the manager for that', value: coldCpu },
    {
      figure: `seconds until a change has reached ${count} clusters`,
      value: fanOutMs / 1000,
      atMost: 60,
    },
    { figure: 'CPU share of one core, idle', value: idle, atMost: 0.01 },
    {
      figure: 'RSS MiB after that, at most',
      value: Math.max(afterCold, afterChange, residentBytes(manager.pid)) / mib,
      atMost: 250,
    },
  ];
}

async function addCluster(api: KubeApi, name: string, signal: AbortSignal): Promise<void> {
  const call = { signal, timeoutMs: 60_000 };
  const of = (apiVersion: string, kind: string, rest: object = {}, namespace?: string) =>
    api.create(
      { apiVersion, kind, metadata: { name, ...(namespace && { namespace }) }, ...rest },
      call,
    );
  await of('v1', 'Namespace');
  await of('cluster.open-cluster-management.io/v1', 'ManagedCluster', {
    spec: { hubAcceptsClient: true },
  });
  const ref = {
    apiVersion: addonVersion,
    kind: 'ManagedClusterAddOn',
    namespace: name,
    name: 'cluster-proxy',
  };
  const { apiVersion, kind, ...metadata } = ref;
  await api.create({ apiVersion, kind, metadata, spec: {} }, call);
  const conditions = [
    {
      type: 'Configured',
      status: 'True',
      reason: 'Bench',
      message: '',
      lastTransitionTime: '2027-01-01T00:00:00Z',
    },
  ];
  await api.patch(ref, { status: { conditions } }, { ...call, subresource: 'status' });
}

/** The manager's results, as its users see them. */
class Watched implements AsyncDisposable {
  readonly works: Informer;
  readonly addOns: Informer;
  /** Clusters whose addon has the registrations of its agent. */
  readonly registered = new Set<string>();
  #changes = 0;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  constructor(api: KubeApi) {
    const works = { apiVersion: 'work.open-cluster-management.io/v1', kind: 'ManifestWork' };
    this.works = new Informer<KubeObject>({ api, collection: works, keep: trimToFingerprint });
    const addOns = { apiVersion: addonVersion, kind: 'ManagedClusterAddOn' };
    this.addOns = new Informer({ api, collection: addOns });
    this.addOns.onChange(({ key, now }) => {
      this.#changes++;
      if (items(fields(now?.['status'])['registrations']).length === 2) this.registered.add(key);
    });
    this.works.onChange(() => this.#changes++);
    const { signal } = this.#stop;
    this.#running = Promise.all([this.works.run(signal), this.addOns.run(signal)]);
  }

  async until(holds: (watched: this) => boolean): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (!holds(this)) {
      if (performance.now() > endMs) {
        const { works, registered } = this;
        throw new Error(
          `not after ${limitMs / 1000} s: ${works.size} works, ${registered.size} registrations`,
        );
      }
      await sleep(50);
    }
  }

  /** Until nothing has changed for some seconds. */
  async quiet(): Promise<void> {
    for (let seen = -1; seen !== this.#changes;) {
      seen = this.#changes;
      await sleep(5_000);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

async function inParallel(
  count: number,
  workers: number,
  run: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: workers }, work));
}

function closing<T extends KubeApi>(api: T): T & Disposable {
  return Object.assign(api, { [Symbol.dispose]: () => api.close() });
}
