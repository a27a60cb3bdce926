import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readAddonOptions, type AddonOptions } from '../../src/addon/options.ts';
import { RestKubeApi } from '../../src/kube/client/rest-kube-api.ts';
import { kubeconfigFile } from '../../src/kube/client/kubeconfig-file.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { chartDirectory, Helm, type Values } from '../kube/helm.ts';
import { type RunningApiServer, startApiServer } from '../ground/kubernetes/api-server.ts';
import type { ApiServerProgram, Programs } from '../ground/kubernetes/programs.ts';

export const hubNs = 'hub-ns';
const addonKind = 'managedclusteraddon';
const configured = {
  type: 'Configured',
  status: 'True',
  reason: 'Because',
  message: '',
  lastTransitionTime: '2026-11-22T11:00:00Z',
};

/**
 * A real API server with OCM's types and our chart; the addon manager runs in this process, as the
 * account that the chart gives it.
 */
export class RealHub implements AsyncDisposable {
  readonly server: RunningApiServer;
  readonly options: AddonOptions;
  /** How `culvert addon` is started in a process of its own. */
  readonly argv: readonly string[];

  constructor(server: RunningApiServer, argv: readonly string[]) {
    this.server = server;
    this.argv = argv;
    const { options } = readAddonOptions(argv, managerEnv);
    const here = { host: '127.0.0.1', port: 0 };
    this.options = { ...options, metricsListen: here, healthListen: here };
  }

  /** @param values of the chart */
  static async start(programs: Programs<ApiServerProgram>, values: Values = {}): Promise<RealHub> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(
      await startApiServer(programs, { ocm: ['hub-crds', 'hub-roles'], controllerManager: true }),
    );
    const chart = chartDirectory('cluster-proxy');
    await server.kubectl(['create', 'namespace', hubNs]);
    await server.kubectl(['apply', '--server-side', '-f', join(chart, 'crds')]);
    await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
    const helm = new Helm(programs.helm);
    const install = ['install', 'cluster-proxy', chart, '--namespace', hubNs];
    await helm.run(install, values, { kubeconfig: server.kubeconfigFile });
    const manager = await server.get<Manager>('deployment', managerName, '-n', hubNs);
    const [program, ...argv] = manager.spec.template.spec.containers[0].args;
    if (program !== 'addon') throw new Error(`the chart starts ${program}`);
    const kubeconfig = await server.kubeconfigFor({
      user: `system:serviceaccount:${hubNs}:cluster-proxy`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${hubNs}`],
    });
    stack.move();
    const elsewhere = argv.filter((arg) => !/^--(metrics|health-probe)-bind-address/.test(arg));
    return new RealHub(server, [...elsewhere, `--kubeconfig=${kubeconfig}`]);
  }

  /** An API client of another user (default: the administrator). */
  api(fieldManager = 'person', path = this.server.kubeconfigFile): RestKubeApi {
    return new RestKubeApi({ config: kubeconfigFile(path), fieldManager });
  }

  /**
   * A ManagedCluster that is accepted, with its namespace and an addon that OCM's addon manager has
   * configured.
   */
  async addCluster(name: string, hubAcceptsClient = true): Promise<void> {
    await this.server.apply([
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
      {
        apiVersion: 'cluster.open-cluster-management.io/v1',
        kind: 'ManagedCluster',
        metadata: { name },
        spec: { hubAcceptsClient },
      },
    ]);
    await this.server.apply({
      apiVersion: 'addon.open-cluster-management.io/v1alpha1',
      kind: 'ManagedClusterAddOn',
      metadata: { name: 'cluster-proxy', namespace: name },
      spec: {},
    });
    await this.patchAddOnStatus(name, { conditions: [configured] });
  }

  async patchAddOnStatus(cluster: string, status: object): Promise<void> {
    const patch = JSON.stringify({ status });
    const target = [addonKind, 'cluster-proxy', '-n', cluster];
    await this.server.kubectl([
      ...['patch', ...target],
      ...['--subresource=status', '--type=merge', '-p', patch],
    ]);
  }

  addOn(cluster: string): Promise<KubeObject> {
    return this.server.get<KubeObject>(addonKind, 'cluster-proxy', '-n', cluster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

export const managerEnv = { POD_NAMESPACE: hubNs, POD_NAME: 'manager-0' } as const;
const managerName = 'cluster-proxy-addon-manager';
interface Manager {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly [{ readonly args: readonly string[] }] };
    };
  };
}

/** Retries until `look` returns a value. @throws the last error of `look`, after a minute */
export async function eventually<T>(
  look: () => Promise<T | undefined>,
  withinMs = 60_000,
): Promise<T> {
  const endMs = Date.now() + withinMs;
  for (;;) {
    let lastError: unknown = new Error('it did not come about');
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (thrown) {
      lastError = thrown;
    }
    if (Date.now() > endMs) throw lastError;
    await sleep(100);
  }
}
