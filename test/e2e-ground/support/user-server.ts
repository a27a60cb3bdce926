import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ground } from '../../../testkit/ground/kubernetes/ground.ts';
import { hubNamespace } from './names.ts';
import { secretOf } from './secrets.ts';

const service = 'cluster-proxy-addon-user';

/** `cluster` and `user` of a kubeconfig. */
export interface Access {
  readonly cluster: Readonly<Record<string, unknown>>;
  readonly user: Readonly<Record<string, unknown>>;
}

/**
 * kubectl on the hub's node, through the Service of the user-server. The node does not ask the DNS
 * of the cluster, so a hosts file has the names of the Service.
 */
export class UserServerClient implements AsyncDisposable {
  readonly #ground: Ground;
  readonly #directory: string;
  readonly #hostsFile: string;
  readonly #ca: string;
  #count = 0;

  private constructor(ground: Ground, directory: string, hostsFile: string, ca: string) {
    this.#ground = ground;
    this.#directory = directory;
    this.#hostsFile = hostsFile;
    this.#ca = ca;
  }

  static async open(ground: Ground): Promise<UserServerClient> {
    const { hub } = ground;
    const { spec } = await hub.get<{ spec: { clusterIP: string } }>(
      ...['-n', hubNamespace, 'service', service],
    );
    const directory = await mkdtemp(join(tmpdir(), 'culvert-e2e-users-'));
    const hostsFile = join(directory, 'hosts');
    const names = [`${service}.${hubNamespace}`, `${service}.${hubNamespace}.svc`];
    await writeFile(hostsFile, `127.0.0.1 localhost\n${spec.clusterIP} ${names.join(' ')}\n`);
    const { data } = await secretOf(hub, hubNamespace, 'proxy-server-ca');
    return new UserServerClient(ground, directory, hostsFile, data['ca.crt']!);
  }

  /** A user with a bearer token, at the URL of a cluster. */
  withToken(cluster: string, token: string): Access {
    return {
      cluster: {
        server: `https://${service}.${hubNamespace}.svc:9092/${cluster}`,
        'certificate-authority-data': this.#ca,
      },
      user: { token },
    };
  }

  /** Returns the stdout of kubectl. @throws Error the exit code is not 0; it quotes stderr */
  async kubectl(access: Access, args: readonly string[], input?: string): Promise<string> {
    const { hub, programs } = this.#ground;
    const kubeconfig = join(this.#directory, `user-${++this.#count}.kubeconfig`);
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'user',
      clusters: [{ name: 'user', cluster: access.cluster }],
      users: [{ name: 'user', user: access.user }],
      contexts: [{ name: 'user', context: { cluster: 'user', user: 'user' } }],
    };
    await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    const bound = 'mount --bind "$0" /etc/hosts && exec "$@"';
    return await hub.run(
      'unshare',
      [
        ...['--mount', 'sh', '-c', bound, this.#hostsFile, programs.kubectl],
        ...[`--kubeconfig=${kubeconfig}`, `--cache-dir=${join(this.#directory, 'cache')}`],
        ...args,
      ],
      input,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
