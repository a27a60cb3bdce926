import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheKey } from '../cache.ts';
import { unpackDebianPackages, type DebianProgram } from '../debian-programs.ts';
import type { Report } from '../go-build.ts';
import { filesImage, withContext, type ImageBuilder, type ImageFile } from './image-builder.ts';
import { sandboxImage } from './node-configuration.ts';
import type { Programs } from './programs.ts';
import { run } from './run.ts';

export const ownImage = 'localhost/culvert:ground';
export const dnsImage = 'localhost/coredns:ground';
export const redisImage = 'docker.io/library/redis:7.2-bookworm';
const nodeImage = 'docker.io/library/node:24-bookworm-slim';

const projectDirectory = fileURLToPath(new URL('../../..', import.meta.url));
const path = 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

// The official image has a shell and the basic commands of Debian, which a Dockerfile may use.
const basePackages = [
  ...['base-files', 'base-passwd', 'bash', 'ca-certificates', 'coreutils', 'dash', 'findutils'],
  ...['grep', 'libacl1', 'libattr1', 'libc-bin', 'libc6', 'libcrypt1', 'libgcc-s1', 'libgmp10'],
  ...['libpcre2-8-0', 'libselinux1', 'libssl3', 'libstdc++6', 'libtinfo6', 'sed', 'zlib1g'],
];

/** The images of every node: the sandbox of pods, and CoreDNS. */
export async function systemImages(
  builder: ImageBuilder,
  programs: Programs<'pause' | 'coredns'>,
): Promise<ImageFile[]> {
  return [
    await filesImage(builder, {
      reference: sandboxImage,
      files: { pause: programs.pause },
      instructions: ['ENTRYPOINT ["/pause"]'],
    }),
    await filesImage(builder, {
      reference: dnsImage,
      files: { coredns: programs.coredns },
      instructions: ['ENTRYPOINT ["/coredns"]'],
    }),
  ];
}

/** Debian's Redis under the name of the official image. The arguments are those of redis-server. */
export async function redisServerImage(
  builder: ImageBuilder,
  redis: DebianProgram,
): Promise<ImageFile> {
  const libraries = await run({ command: 'ldd', args: [redis.command], env: redis.env });
  const files = [...libraries.matchAll(/(\S+) => (\S+)/g)].map(
    ([, name = '', file = '']) => [`usr/lib/${name}`, file] as const,
  );
  const [loader] = /\/lib\S*\/ld-linux\S+/.exec(libraries) ?? [];
  if (loader === undefined) throw new Error(`ldd names no loader of ${redis.command}`);
  return filesImage(builder, {
    reference: redisImage,
    files: {
      ...Object.fromEntries(files),
      [loader.slice(1)]: loader,
      'usr/local/bin/redis-server': redis.command,
    },
    instructions: [
      path,
      'ENV LD_LIBRARY_PATH=/usr/lib',
      'WORKDIR /data',
      'ENTRYPOINT ["redis-server"]',
    ],
  });
}

/** The image of this checkout, from its own Dockerfile. */
export async function buildOwnImage(
  builder: ImageBuilder,
  directory: string,
  report: Report,
): Promise<ImageFile> {
  await makeNodeImage(builder, report);
  report('building our image from the Dockerfile ...');
  await withContext(async (context) => {
    const build = join(projectDirectory, 'scripts/build.ts');
    await run({ command: process.execPath, args: [build, join(context, 'dist')] });
    for (const file of ['Dockerfile', 'LICENSE']) {
      await copyFile(join(projectDirectory, file), join(context, file));
    }
    await builder.build({
      reference: ownImage,
      context,
      // The build cannot reach a package registry. The bundle is the same.
      buildArguments: { BUNDLE: 'given', NODE_IMAGE: nodeImage },
    });
  });
  return builder.save(ownImage, join(directory, 'culvert.tar'));
}

/** A stand-in for the official image of Node: the project's own Node over Debian's own packages. */
async function makeNodeImage(builder: ImageBuilder, report: Report): Promise<void> {
  const key = await cacheKey({
    texts: [process.version, process.arch, ...basePackages],
    files: [],
  });
  const keyed = `localhost/node:${key}`;
  if (!(await builder.has(keyed))) {
    report(`making a base image of Node ${process.version} and Debian's packages ...`);
    await withContext(async (context) => {
      const root = join(context, 'root');
      await mkdir(root);
      await unpackDebianPackages(basePackages, root, report);
      await mkdir(join(root, 'usr/local/bin'), { recursive: true });
      await cp(process.execPath, join(root, 'usr/local/bin/node'), { dereference: true });
      const dockerfile = ['FROM scratch', 'COPY root/ /', path, 'CMD ["node"]'].join('\n');
      await writeFile(join(context, 'Dockerfile'), dockerfile);
      await builder.build({ reference: keyed, context });
    });
  }
  await builder.tag(keyed, nodeImage);
}
