// node ingress-controller.ts SETTINGS: an ingress controller as small as one can be. It knows the
// host and the path `/` of a rule, a TLS Secret, and one annotation of ingress-nginx: the protocol
// of the backend.
import { spawn } from 'node:child_process';
import { on } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterPki, type KeyPairFiles } from './cluster-pki.ts';
import type { IngressSettings } from './ingress.ts';
import { Kubectl } from './kubectl.ts';

interface Ingress {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly tls?: readonly { readonly hosts?: readonly string[]; readonly secretName?: string }[];
    readonly rules?: readonly {
      readonly host?: string;
      readonly http?: {
        readonly paths: readonly {
          readonly backend: {
            readonly service: {
              readonly name: string;
              readonly port: { readonly name?: string; readonly number?: number };
            };
          };
        }[];
      };
    }[];
  };
  readonly status: { readonly loadBalancer?: { readonly ingress?: readonly { ip?: string }[] } };
}

interface Service {
  readonly spec: {
    readonly clusterIP: string;
    readonly ports: readonly { readonly name?: string; readonly port: number }[];
  };
}

const settings = JSON.parse(process.argv[2] ?? '') as IngressSettings;
const { directory, address, nginx } = settings;
const kubectl = new Kubectl(settings.kubectl, settings.kubeconfig);
const annotation = 'nginx.ingress.kubernetes.io/backend-protocol';
const configurationFile = join(directory, 'nginx.conf');

// The default certificate, for an Ingress without a Secret. No client should trust it.
const stranger = await ClusterPki.create(join(directory, 'fallback'), 'fallback.invalid');
const fallback = await stranger.issue({ name: 'fallback', user: 'fallback.invalid' });

let server: ReturnType<typeof spawn> | undefined;
for (;;) {
  const args = ['get', 'ingresses', '--all-namespaces', '--watch', '--output=name'];
  const watch = kubectl.commandLine(args);
  const child = spawn(watch.command, watch.args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout);
  // A watch ends from time to time, and when the API server ends.
  const ended = new AbortController();
  lines.once('close', () => ended.abort());
  try {
    for await (const _line of on(lines, 'line', { signal: ended.signal })) await follow();
  } catch (error) {
    if (!ended.signal.aborted) console.error(error);
  }
  child.kill();
  await sleep(1000);
}

async function follow(): Promise<void> {
  const { items } = await kubectl.get<{ items: Ingress[] }>('ingresses', '--all-namespaces');
  const servers: string[] = [];
  for (const ingress of items) {
    try {
      servers.push(...(await serversOf(ingress)));
    } catch (error) {
      console.error(`${ingress.metadata.namespace}/${ingress.metadata.name}: ${String(error)}`);
    }
  }
  const configuration = configurationOf(servers);
  const before = existsSync(configurationFile) ? await readFile(configurationFile, 'utf8') : '';
  if (configuration !== before || server === undefined) {
    await writeFile(configurationFile, configuration);
    if (server === undefined) {
      const args = [...nginx.args, '-p', directory, '-e', 'stderr', '-c', configurationFile];
      server = spawn(nginx.command, args, {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, ...nginx.env },
      });
      server.once('exit', () => (server = undefined));
    } else {
      server.kill('SIGHUP');
    }
  }
  for (const ingress of items) await tellAddress(ingress);
}

async function serversOf({ metadata, spec }: Ingress): Promise<string[]> {
  const { namespace, name, annotations = {} } = metadata;
  const protocol = annotations[annotation] === 'HTTPS' ? 'https' : 'http';
  const servers: string[] = [];
  for (const { host, http } of spec.rules ?? []) {
    const backend = http?.paths[0]?.backend.service;
    if (host === undefined || backend === undefined) continue;
    const service = await kubectl.get<Service>('-n', namespace, 'service', backend.name);
    const port =
      backend.port.number ??
      service.spec.ports.find((each) => each.name === backend.port.name)?.port;
    if (port === undefined) throw new Error(`service ${backend.name} has no such port`);
    const secretName = spec.tls?.find(({ hosts }) => hosts?.includes(host) ?? true)?.secretName;
    const { cert, key } = await tlsFiles(namespace, name, secretName);
    servers.push(`
  server {
    listen ${address}:443 ssl;
    server_name ${host};
    ssl_certificate ${cert};
    ssl_certificate_key ${key};
    location / {
      proxy_pass ${protocol}://${service.spec.clusterIP}:${port};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 3600s;
      proxy_send_timeout 3600s;
    }
  }`);
  }
  return servers;
}

async function tlsFiles(
  namespace: string,
  name: string,
  secretName: string | undefined,
): Promise<KeyPairFiles> {
  if (secretName === undefined) return fallback;
  const args = ['-n', namespace, 'secret', secretName];
  const secret = await kubectl.get<{ data: Record<string, string> }>(...args);
  const write = async (entry: string) => {
    const file = join(directory, `${namespace}-${name}-${entry}`);
    await writeFile(file, Buffer.from(secret.data[entry] ?? '', 'base64'), { mode: 0o600 });
    return file;
  };
  return { cert: await write('tls.crt'), key: await write('tls.key') };
}

async function tellAddress({ metadata, status }: Ingress): Promise<void> {
  if (status.loadBalancer?.ingress?.[0]?.ip === address) return;
  const patch = { status: { loadBalancer: { ingress: [{ ip: address }] } } };
  await kubectl.run([
    ...['-n', metadata.namespace, 'patch', 'ingress', metadata.name],
    ...['--subresource=status', '--type=merge', `--patch=${JSON.stringify(patch)}`],
  ]);
}

function configurationOf(servers: readonly string[]): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const paths = temporary.map((what) => `  ${what}_temp_path ${directory}/${what};`);
  return `daemon off;
worker_processes 1;
user root;
pid ${directory}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
${paths.join('\n')}
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }${servers.join('')}
}
`;
}
