import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { IncomingMessage } from 'node:http';
import { ClusterPki } from '../../../testkit/ground/kubernetes/cluster-pki.ts';
import {
  apiServerArguments,
  etcdArguments,
} from '../../../testkit/ground/kubernetes/control-plane.ts';
import { writeKubeconfig } from '../../../testkit/ground/kubernetes/kubeconfig.ts';
import { Kubectl } from '../../../testkit/ground/kubernetes/kubectl.ts';
import { waitFor } from '../../../testkit/ground/kubernetes/wait.ts';
import { NetworkNamespace } from '../../../testkit/network/network-namespace.ts';
import { startProgram, type Program } from '../../../testkit/processes/process.ts';
import {
  apiAddress,
  backendPort,
  clusterAddresses,
  echoPort,
  kubeletPort,
  nodeAddress,
  podAddress,
  podPort,
  serviceRange,
  webhookAddress,
} from './addresses.ts';
import { clusterObjects, statuses } from './objects.ts';
import type { EgressPrograms } from './prepare.ts';

const apiServerPort = 6443;
const readyTimeoutMs = 60_000;

/** `connection` of an EgressSelectorConfiguration. */
export type EgressConnection = object;

export interface HubOptions {
  /** Makes the connection, from the directory in which sockets and certificates are. */
  readonly connection: (hub: HubFiles) => Promise<EgressConnection>;
  /** The selections that use it (default: only `cluster`). */
  readonly selections?: readonly ('cluster' | 'controlplane')[];
  /** Whether kube-apiserver dials endpoints of a Service, and not the Service (default true). */
  readonly aggregatorRouting?: boolean;
}

export interface HubFiles {
  /** A temporary directory that is deleted with the hub. */
  readonly directory: string;
  readonly pki: ClusterPki;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * etcd and kube-apiserver in one network namespace, and pods, webhook and kubelet in another. The
 * namespaces are joined by a cable, but the hub has no route to the pods' addresses.
 */
export interface Hub extends HubFiles, AsyncDisposable {
  readonly hub: NetworkNamespace;
  readonly cluster: NetworkNamespace;
  readonly apiServer: Program;
  readonly kubectl: Kubectl;
  /** A request of an administrator to the kube-apiserver, on kept connections. */
  request(method: string, path: string, body?: object, signal?: AbortSignal): Promise<ApiAnswer>;
}

export async function startHub(programs: EgressPrograms, options: HubOptions): Promise<Hub> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-egress-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const hub = stack.use(await NetworkNamespace.create());
  const cluster = stack.use(await NetworkNamespace.create(hub));
  for (const address of clusterAddresses) await cluster.addAddress(address);
  const pki = await ClusterPki.create(join(directory, 'pki'), 'egress-ca');
  stack.use(await startPods(programs.pods, { cluster, pki }));

  const etcd = etcdArguments({
    dataDirectory: join(directory, 'etcd'),
    clientPort: 2379,
    peerPort: 2380,
  });
  stack.use(
    startProgram(
      hub.inside({
        command: programs.kubernetes.etcd,
        args: etcd,
        cwd: directory,
        name: 'etcd',
        killAfterMs: 100,
      }),
    ),
  );
  const configuration = join(directory, 'egress-selector.yaml');
  const connection = await options.connection({ directory, pki });
  const selections = (options.selections ?? ['cluster']).map((name) => ({ name, connection }));
  const selector = { apiVersion: 'apiserver.k8s.io/v1beta1', kind: 'EgressSelectorConfiguration' };
  await writeFile(configuration, JSON.stringify({ ...selector, egressSelections: selections }));
  const apiServer = stack.use(
    startProgram(
      hub.inside({
        command: programs.kubernetes['kube-apiserver'],
        name: 'kube-apiserver',
        args: apiServerArguments({
          pki,
          serving: await pki.issue({
            name: 'apiserver',
            user: 'kube-apiserver',
            ipAddresses: [hub.address],
          }),
          etcdPort: 2379,
          bindAddress: hub.address,
          port: apiServerPort,
          serviceRange,
          extra: await egressFlags(pki, configuration, options.aggregatorRouting ?? true),
        }),
        killAfterMs: 100,
        cwd: directory,
      }),
    ),
  );

  const url = `https://${hub.address}:${apiServerPort}`;
  const admin = await pki.issue({ name: 'admin', user: 'admin', groups: ['system:masters'] });
  const kubeconfig = await writeKubeconfig(join(directory, 'admin.kubeconfig'), {
    url,
    caFile: pki.ca.cert,
    credentials: admin,
  });
  const agent = new Agent({
    keepAlive: true,
    ca: await readFile(pki.ca.cert),
    cert: await readFile(admin.cert),
    key: await readFile(admin.key),
  });
  stack.defer(() => agent.destroy());
  const call = requester(url, agent);
  const ready = waitFor(async () => (await call('GET', '/readyz')).status === 200, {
    what: 'ready kube-apiserver',
    timeoutMs: readyTimeoutMs,
  });
  const ended = apiServer.exited.then(() => {
    throw new Error(`kube-apiserver ended:\n${apiServer.output}`);
  });
  await Promise.race([ready, ended]);
  ended.catch(() => {});

  const kubectl = new Kubectl(programs.kubernetes.kubectl, kubeconfig);
  const caBundle = (await readFile(pki.ca.cert)).toString('base64');
  await kubectl.apply(clusterObjects(caBundle));
  await kubectl.apply(statuses, ['--subresource=status']);
  const running = stack.move();
  return {
    directory,
    pki,
    hub,
    cluster,
    apiServer,
    kubectl,
    request: call,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function startPods(
  command: string,
  { cluster, pki }: { readonly cluster: NetworkNamespace; readonly pki: ClusterPki },
): Promise<Program> {
  const { cert, key } = await pki.issue({
    name: 'pods',
    user: 'pods',
    dnsNames: ['webhook.default.svc', 'api.default.svc'],
    ipAddresses: [nodeAddress, webhookAddress.pod],
  });
  const both = (of: typeof apiAddress) => `${of.pod}:${backendPort},${of.service}:443`;
  const args = [
    `--cert=${cert}`,
    `--key=${key}`,
    `--webhook=${both(webhookAddress)}`,
    `--api=${both(apiAddress)}`,
    `--kubelet=${nodeAddress}:${kubeletPort}`,
    `--pod=${podAddress}:${podPort}`,
    `--echo=${podAddress}:${echoPort}`,
  ];
  const pods = startProgram(cluster.inside({ command, args, name: 'pods' }));
  await pods.waitForLine(/^ready$/);
  return pods;
}

async function egressFlags(
  pki: ClusterPki,
  configuration: string,
  aggregatorRouting: boolean,
): Promise<string[]> {
  // The name that `--requestheader-allowed-names` of the ground has.
  const proxy = await pki.issue({ name: 'front-proxy', user: 'front-proxy-client' });
  const kubelet = await pki.issue({ name: 'kubelet-client', user: 'kube-apiserver-kubelet' });
  return [
    `--egress-selector-config-file=${configuration}`,
    `--enable-aggregator-routing=${aggregatorRouting}`,
    `--proxy-client-cert-file=${proxy.cert}`,
    `--proxy-client-key-file=${proxy.key}`,
    `--kubelet-client-certificate=${kubelet.cert}`,
    `--kubelet-client-key=${kubelet.key}`,
    `--kubelet-certificate-authority=${pki.ca.cert}`,
    '--kubelet-preferred-address-types=InternalIP',
    '--endpoint-reconciler-type=none',
  ];
}

function requester(url: string, agent: Agent): Hub['request'] {
  return async (method, path, body, signal) => {
    const outgoing = request(new URL(path, url), {
      method,
      agent,
      ...(signal && { signal }),
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return { status: response.statusCode ?? 0, body: await text(response) };
  };
}
