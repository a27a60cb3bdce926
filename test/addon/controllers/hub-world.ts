import { onTestFinished } from 'vitest';
import { startAddon, type RunningAddon } from '../../../src/addon/addon.ts';
import { type AddonOptions, readAddonOptions } from '../../../src/addon/options.ts';
import { makeAuthority } from '../../../src/addon/rotation/authority.ts';
import { secret as makeSecret } from '../../../src/addon/api/objects.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import type { KubeApi, KubeRef } from '../../../src/kube/client/kube-api.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { silentLogger, type Logger } from '../../../src/base/log/logger.ts';
import { MemoryKubeApi, ocmKinds, type MemoryCall } from '../../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import { cryptoIdle } from './pending-crypto.ts';
import { configurationObject, hub } from '../hub/hub-fixture.ts';
import { condition } from '../api/ocm-objects.ts';

export { hub };
export const startMs = Date.parse('2027-01-01T00:00:00Z');
const group = 'addon.open-cluster-management.io';

/** The addon manager's options, as the chart gives them. */
export function addonOptions(parts: Partial<AddonOptions> = {}): AddonOptions {
  const argv = [
    '--signer-secret-namespace',
    hub,
    '--leader-elect',
    '--redis-url',
    'redis://redis:6379',
  ];
  const { options } = readAddonOptions(argv, { POD_NAMESPACE: hub, POD_NAME: 'manager-0' });
  const nowhere = { metricsListen: undefined, healthListen: undefined };
  return { ...options, ...nowhere, ...parts };
}

// Made once, because an RSA key is slow to make.
const authority = makeAuthority('open-cluster-management:cluster-proxy', 'rsa', new Date(startMs));
export async function signerSecret(): Promise<KubeObject> {
  const { certPem, keyPem } = await authority;
  const metadata = { name: 'cluster-proxy-signer', namespace: hub };
  return makeSecret(metadata, { 'ca.crt': certPem, 'ca.key': keyPem });
}

export const managedCluster = (name: string, hubAcceptsClient = true): KubeObject => ({
  apiVersion: 'cluster.open-cluster-management.io/v1',
  kind: 'ManagedCluster',
  metadata: { name },
  spec: { hubAcceptsClient },
});

/** A ManagedClusterAddOn that OCM's addon manager has configured. */
export const addOn = (cluster: string, status: object = {}): KubeObject => ({
  apiVersion: `${group}/v1alpha1`,
  kind: 'ManagedClusterAddOn',
  metadata: { name: 'cluster-proxy', namespace: cluster },
  spec: {},
  status: { conditions: [condition('Configured', 'True')], ...status },
});

export const namespaceObject = (name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name },
});

export const configuration = (
  ...parameters: Parameters<typeof configurationObject>
): KubeObject => {
  const object = configurationObject(...parameters);
  const { uid: _, ...metadata } = object.metadata;
  return { ...object, metadata };
};

export interface HubWorldOptions {
  readonly clusters?: readonly string[];
  readonly configuration?: KubeObject;
  readonly intercept?: (call: MemoryCall) => Error | undefined;
}

/** A hub in memory, on a virtual clock. */
export class HubWorld {
  readonly clock = new VirtualClock(20);
  readonly api: MemoryKubeApi;
  /** By how many milliseconds the wall clock has been set forward. */
  wallAheadMs = 0;
  /** Replaces a call by an error; a test may set it. */
  intercept: (call: MemoryCall) => Error | undefined = () => undefined;

  constructor() {
    const intercept = (call: MemoryCall) => this.intercept(call);
    this.api = new MemoryKubeApi({ kinds: ocmKinds, namespaces: [hub], intercept });
  }

  /** A hub with a configuration, the brokers' CA, and clusters that have the addon. */
  static async create({ clusters = ['cluster1'], ...options }: HubWorldOptions = {}) {
    const world = new HubWorld();
    world.api.put(options.configuration ?? configuration());
    world.api.put(await signerSecret());
    for (const cluster of clusters) world.addCluster(cluster);
    return world;
  }

  addCluster(name: string): void {
    this.api.put(namespaceObject(name));
    this.api.put(managedCluster(name));
    this.api.put(addOn(name));
  }

  async start(
    parts: Partial<AddonOptions> = {},
    log: Logger = silentLogger,
    api: KubeApi = this.api,
  ) {
    const wallClock = () => new Date(startMs + this.wallAheadMs + this.clock.now());
    const addon = await startAddon(addonOptions(parts), { api, clock: this.clock, wallClock, log });
    onTestFinished(() => this.stop(addon));
    return addon;
  }

  async stop(addon: RunningAddon): Promise<void> {
    const closing = { isOver: false };
    const closed = addon.close().finally(() => (closing.isOver = true));
    while (!closing.isOver) await this.pass(100);
    await closed;
  }

  /** Lets time pass in small steps until `holds`. Making keys takes no virtual time. */
  async until(holds: () => boolean, { withinMs = 600_000, stepMs = 20 } = {}): Promise<void> {
    const endMs = this.clock.now() + withinMs;
    while (!holds()) {
      if (this.clock.now() > endMs) throw new Error(`it does not hold after ${withinMs} ms`);
      await this.pass(stepMs);
    }
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await cryptoIdle();
  }

  /** Lets time pass until nothing has been written for `quietMs`. */
  async settle(quietMs = 3_000): Promise<void> {
    let seen = this.writes;
    let sinceMs = this.clock.now();
    await this.until(() => {
      if (this.writes !== seen) sinceMs = this.clock.now();
      seen = this.writes;
      return this.clock.now() - sinceMs > quietMs;
    });
  }

  get writes(): number {
    return this.api.calls.filter(isWrite).length;
  }

  find(kind: string, name: string, namespace?: string): KubeObject | undefined {
    return this.api.peek({ apiVersion: apiVersions[kind] ?? 'v1', kind, namespace, name });
  }

  condition(object: KubeObject | undefined, type: string) {
    const conditions = items(fields(object?.['status'])['conditions']);
    return conditions.find((one) => one['type'] === type);
  }

  get configuration(): KubeObject | undefined {
    return this.find('ManagedProxyConfiguration', 'cluster-proxy');
  }

  addOn(cluster: string): KubeObject | undefined {
    return this.find('ManagedClusterAddOn', 'cluster-proxy', cluster);
  }

  work(cluster: string): KubeObject | undefined {
    return this.find('ManifestWork', 'addon-cluster-proxy-deploy-0', cluster);
  }

  ref(kind: string, name: string, namespace?: string): KubeRef {
    return { apiVersion: apiVersions[kind] ?? 'v1', kind, namespace, name };
  }
}

/** Whether a call changes an object other than the Lease, which is renewed all the time. */
export function isWrite({ verb, kind }: MemoryCall): boolean {
  return kind !== 'Lease' && ['apply', 'create', 'update', 'patch', 'delete'].includes(verb);
}

export const apiVersions: Readonly<Record<string, string>> = {
  Deployment: 'apps/v1',
  PodDisruptionBudget: 'policy/v1',
  Role: 'rbac.authorization.k8s.io/v1',
  RoleBinding: 'rbac.authorization.k8s.io/v1',
  ClusterRole: 'rbac.authorization.k8s.io/v1',
  Ingress: 'networking.k8s.io/v1',
  Lease: 'coordination.k8s.io/v1',
  CertificateSigningRequest: 'certificates.k8s.io/v1',
  ManagedCluster: 'cluster.open-cluster-management.io/v1',
  ManifestWork: 'work.open-cluster-management.io/v1',
  ManagedClusterAddOn: `${group}/v1alpha1`,
  ClusterManagementAddOn: `${group}/v1alpha1`,
  AddOnDeploymentConfig: `${group}/v1alpha1`,
  ManagedProxyConfiguration: 'proxy.open-cluster-management.io/v1alpha1',
};
