import { createHash } from 'node:crypto';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { UpstreamPrograms } from '../../testkit/ground/go-programs.ts';
import type { HttpPrograms } from '../../testkit/ground/http/http-programs.ts';
import type { RunningApiServer } from '../../testkit/ground/kubernetes/api-server.ts';
import { startUpstream } from '../../testkit/ground/upstream.ts';
import type { NetworkNamespace } from '../../testkit/network/network-namespace.ts';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import type { TestCertificates } from '../../testkit/world/certificates.ts';

/** The ports of upstream's programs, which no flag changes. */
export const userServerPort = 9092;
const serviceProxyPort = 7443;

// The files of a pod: its ServiceAccount, and the names that its cluster's DNS knows.
const asPod = [
  'mount -t tmpfs none /run',
  'mkdir -p /run/secrets/kubernetes.io',
  'ln -s "$0" /run/secrets/kubernetes.io/serviceaccount',
  'mount --bind "$0/hosts" /etc/hosts',
  'exec "$@"',
].join(' && ');

/** Upstream's chain: user-server, konnectivity's server and agent, service-proxy. */
export interface UpstreamChain {
  readonly url: string;
  readonly caFile: string;
  readonly userServer: Program;
  readonly programs: readonly Program[];
}

export interface UpstreamChainOptions {
  readonly programs: Pick<HttpPrograms, 'clusterProxy'>;
  readonly konnectivity: UpstreamPrograms;
  readonly certificates: TestCertificates;
  /** A kube-apiserver at 127.0.0.1:443. */
  readonly server: RunningApiServer;
  /** The place of user-server: it and service-proxy listen on the same port 8000. */
  readonly hub: NetworkNamespace;
  readonly cluster: string;
  /** A file with the token of service-proxy. */
  readonly tokenFile: string;
}

/** Starts the chain in a network namespace that has no other programs, as it listens everywhere. */
export async function startUpstreamChain(
  stack: AsyncDisposableStack,
  options: UpstreamChainOptions,
): Promise<UpstreamChain> {
  const { programs, certificates, server, hub, cluster } = options;
  const host = serviceProxyHost(cluster);
  const { serverAuthority, client } = certificates;
  const pod = join(server.directory, 'service-proxy');
  await mkdir(pod);
  await writeFile(join(pod, 'hosts'), `127.0.0.1 localhost kubernetes.default.svc ${host}\n`);
  await copyFile(server.caFile, join(pod, 'ca.crt'));
  await copyFile(options.tokenFile, join(pod, 'token'));
  const prefix = ['unshare', '--mount', 'sh', '-c', asPod, pod] as const;

  const addresses = [hub.otherAddress, hub.address];
  const issued = await serverAuthority.issue({ name: 'upstream', usage: 'server', addresses });
  const konnectivity = stack.use(
    await startUpstream(
      options.konnectivity,
      { ...certificates, server: issued },
      {
        verbosity: 0,
        frontHost: hub.otherAddress,
        agentPlace: { prefix, serverHost: '127.0.0.1' },
      },
    ),
  );
  const serving = await serverAuthority.issue({
    name: 'service-proxy',
    usage: 'server',
    dnsNames: [host],
  });
  const [command, ...before] = prefix;
  const serviceProxy = stack.use(
    startProgram({
      command,
      name: 'service-proxy',
      args: [
        ...before,
        programs.clusterProxy,
        'service-proxy',
        `--cert=${serving.cert}`,
        `--key=${serving.key}`,
        `--hub-kubeconfig=${server.kubeconfigFile}`,
        // With impersonation it asks for a TokenReview per request, and its client allows itself
        // five of them a second.
        '--enable-impersonation=false',
      ],
      env: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '443' },
    }),
  );
  await serviceProxy.waitForPort(serviceProxyPort);
  const [frontHost, frontPort] = konnectivity.front.split(':');
  const userServer = stack.use(
    startProgram(
      hub.inside({
        command: programs.clusterProxy,
        name: 'user-server',
        args: [
          'user-server',
          `--host=${frontHost}`,
          `--port=${frontPort}`,
          `--proxy-ca-cert=${issued.ca}`,
          `--proxy-cert=${client.cert}`,
          `--proxy-key=${client.key}`,
          `--server-port=${userServerPort}`,
          `--server-cert=${issued.cert}`,
          `--server-key=${issued.key}`,
          `--service-proxy-ca-cert=${serving.ca}`,
        ],
        // It follows addons of the hub. Without a hub, it tries again and again.
        env: { KUBECONFIG: server.kubeconfigFile },
      }),
    ),
  );
  await userServer.waitForLine(/start https server/);
  return {
    url: `https://${hub.address}:${userServerPort}/${cluster}`,
    caFile: issued.ca,
    userServer,
    programs: [userServer, konnectivity.server, konnectivity.agent, serviceProxy],
  };
}

/** The name by which user-server dials the service-proxy of a cluster. */
function serviceProxyHost(cluster: string): string {
  const hash = createHash('sha256').update(cluster).digest('hex');
  return `cluster-${hash.slice(0, 48)}.open-cluster-management.proxy`;
}
