import type { ClusterPki, KeyPairFiles } from './cluster-pki.ts';

/** Arguments of the programs of a control plane. */
export interface EtcdSettings {
  readonly dataDirectory: string;
  readonly clientPort: number;
  readonly peerPort: number;
}

export function etcdArguments({ dataDirectory, clientPort, peerPort }: EtcdSettings): string[] {
  const [client, peer] = [clientPort, peerPort].map((port) => `http://127.0.0.1:${port}`);
  return [
    `--data-dir=${dataDirectory}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // The data is temporary, so etcd need not wait for the disk.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

export interface ApiServerSettings {
  readonly pki: ClusterPki;
  readonly serving: KeyPairFiles;
  readonly etcdPort: number;
  readonly bindAddress: string;
  readonly port: number;
  readonly serviceRange: string;
  readonly extra: readonly string[];
}

export function apiServerArguments(settings: ApiServerSettings): string[] {
  const { pki, serving } = settings;
  return [
    `--etcd-servers=http://127.0.0.1:${settings.etcdPort}`,
    `--bind-address=${settings.bindAddress}`,
    `--secure-port=${settings.port}`,
    `--tls-cert-file=${serving.cert}`,
    `--tls-private-key-file=${serving.key}`,
    `--client-ca-file=${pki.ca.cert}`,
    // No client has such a certificate, but programs that read the CA log errors without it.
    `--requestheader-client-ca-file=${pki.ca.cert}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--service-cluster-ip-range=${settings.serviceRange}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${pki.serviceAccounts.publicKey}`,
    `--service-account-signing-key-file=${pki.serviceAccounts.privateKey}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--profiling=false',
    ...settings.extra,
  ];
}

export interface ControllerManagerSettings {
  readonly pki: ClusterPki;
  readonly kubeconfig: string;
  /** 0 serves no health and no metrics. */
  readonly port: number;
}

export function controllerManagerArguments(settings: ControllerManagerSettings): string[] {
  const { pki, kubeconfig, port } = settings;
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${port}`,
    '--leader-elect=false',
    '--use-service-account-credentials=true',
    `--service-account-private-key-file=${pki.serviceAccounts.privateKey}`,
    `--root-ca-file=${pki.ca.cert}`,
    `--cluster-signing-cert-file=${pki.ca.cert}`,
    `--cluster-signing-key-file=${pki.ca.key}`,
    '--profiling=false',
  ];
}
