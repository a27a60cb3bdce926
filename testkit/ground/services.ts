import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CertificateFiles } from '../world/certificates.ts';
import { freePort, startProgram, type Program } from '../processes/process.ts';
import type { DebianProgram } from './debian-programs.ts';

/** A real server on loopback, which ends with its scope. */
export interface Service extends AsyncDisposable {
  readonly port: number;
  readonly program: Program;
}

export async function startRedis(redis: DebianProgram): Promise<Service> {
  return startService(redis, 'redis-server', (port) => ({
    // Redis writes nothing to disk.
    args: ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
  }));
}

/**
 * An HTTP proxy that allows CONNECT to any port, behind a user and password when they are given.
 */
export async function startTinyproxy(
  tinyproxy: DebianProgram,
  options: { readonly user?: string; readonly password?: string } = {},
): Promise<Service> {
  const auth = options.user === undefined ? [] : [`BasicAuth ${options.user} ${options.password}`];
  return startService(tinyproxy, 'tinyproxy', (port, directory) => ({
    args: ['-d', '-c', join(directory, 'tinyproxy.conf')],
    files: {
      'tinyproxy.conf': [
        `Port ${port}`,
        'Listen 127.0.0.1',
        'Allow 127.0.0.1',
        'Timeout 600',
        'MaxClients 100',
        'LogLevel Connect',
        ...auth,
      ].join('\n'),
    },
  }));
}

interface NginxOptions {
  readonly tls: CertificateFiles;
  readonly upstreamPort: number;
  /** The prefix of the paths that nginx passes on (default: all). */
  readonly location?: string;
}

/**
 * nginx as an ingress: terminates TLS and passes `location`, upgrades included, to `upstreamPort`.
 * Its timeouts are nginx's own, among them 60 s for an idle connection either way.
 */
export async function startNginx(nginx: DebianProgram, options: NginxOptions): Promise<Service> {
  return startService(nginx, 'nginx', (port, directory) => ({
    args: ['-p', directory, '-e', 'stderr', '-c', join(directory, 'nginx.conf')],
    files: { 'nginx.conf': nginxConfiguration(port, directory, options) },
  }));
}

function nginxConfiguration(
  port: number,
  directory: string,
  { tls, upstreamPort, location = '/' }: NginxOptions,
): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  // One process in the foreground, so that a kill stops all of nginx.
  return `
daemon off;
master_process off;
pid ${directory}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.map((what) => `${what}_temp_path ${directory}/${what};`).join('\n  ')}
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${tls.cert};
    ssl_certificate_key ${tls.key};
    location ${location} {
      proxy_pass http://127.0.0.1:${upstreamPort};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }
  }
}
`;
}

interface Setup {
  readonly args: readonly string[];
  /** Files to write into the service's directory first. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A SOCKS 5 proxy that resolves names itself. */
export async function startMicrosocks(
  microsocks: DebianProgram,
  options: { readonly user?: string; readonly password?: string } = {},
): Promise<Service> {
  const { user, password } = options;
  const auth = user === undefined ? [] : ['-u', user, '-P', `${password}`];
  return startService(microsocks, 'microsocks', (port) => ({
    args: ['-i', '127.0.0.1', '-p', `${port}`, ...auth],
  }));
}

async function startService(
  { command, args, env }: DebianProgram,
  name: string,
  setUp: (port: number, directory: string) => Setup,
): Promise<Service> {
  const directory = await mkdtemp(join(tmpdir(), `culvert-${name}-`));
  const port = await freePort();
  const { args: own, files = {} } = setUp(port, directory);
  for (const [file, text] of Object.entries(files)) await writeFile(join(directory, file), text);
  const program = startProgram({ command, args: [...args, ...own], env, name, cwd: directory });
  const stop = async () => {
    await program.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await program.waitForPort(port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, program, [Symbol.asyncDispose]: stop };
}
