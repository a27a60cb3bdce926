import { cgroupOf } from './cgroups.ts';
import type { ClusterPki, KeyPairFiles } from './cluster-pki.ts';
import { addressesOf, clusterDomain, type ClusterPlan } from './topology.ts';

export const sandboxImage = 'localhost/pause:3';

export interface KubeletSettings {
  readonly plan: ClusterPlan;
  readonly directory: string;
  readonly pki: ClusterPki;
  readonly serving: KeyPairFiles;
  readonly containerdSocket: string;
}

/** KubeletConfiguration for a node in namespaces of a shared machine. */
export function kubeletConfiguration(settings: KubeletSettings): object {
  const { plan, directory, pki, serving, containerdSocket } = settings;
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '0.0.0.0',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki.ca.cert },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: serving.cert,
    tlsPrivateKeyFile: serving.key,
    healthzBindAddress: '127.0.0.1',
    containerRuntimeEndpoint: `unix://${containerdSocket}`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: cgroupOf(plan.name),
    failCgroupV1: false,
    failSwapOn: false,
    // Lower ports need a capability that a container does not have.
    oomScoreAdj: 0,
    // These would be the machine's iptables.
    makeIPTablesUtilChains: false,
    podLogsDir: `${directory}/pod-logs`,
    resolvConf: `${directory}/resolv.conf`,
    clusterDomain,
    clusterDNS: [addressesOf(plan).dnsService],
    maxPods: 50,
    imageGCHighThresholdPercent: 100,
    // The machine's disk does not belong to this node.
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
    },
    nodeStatusUpdateFrequency: '4s',
    syncFrequency: '10s',
    maxOpenFiles: 20_000,
  };
}

export function kubeProxyConfiguration(plan: ClusterPlan, kubeconfig: string): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    bindAddress: '0.0.0.0',
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    clusterCIDR: addressesOf(plan).podRange,
    clientConnection: { kubeconfig },
    // The limits of conntrack belong to the machine, not to the namespace.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nodePortAddresses: ['primary'],
  };
}

/** A bridge for the pods. The firewall translates addresses, so CNI needs no iptables. */
export function cniConfiguration(plan: ClusterPlan, directory: string): object {
  return {
    cniVersion: '0.4.0',
    name: 'ground',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: `${directory}/cni-state`,
          ranges: [[{ subnet: addressesOf(plan).podRange }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  };
}

export interface ContainerdSettings {
  readonly directory: string;
  readonly socket: string;
  readonly cniPlugins: string;
  readonly cniConfigurations: string;
}

export function containerdConfiguration(settings: ContainerdSettings): string {
  const { directory, socket, cniPlugins, cniConfigurations } = settings;
  return `
version = 2
root = "${directory}/containerd/root"
state = "${directory}/containerd/state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${sandboxImage}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cniPlugins}"
    conf_dir = "${cniConfigurations}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
}
