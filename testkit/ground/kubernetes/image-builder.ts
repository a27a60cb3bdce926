import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheDirectory, cacheKey, isMissing, publish, type Missing } from '../cache.ts';
import { prepareDebianPackages } from '../debian-programs.ts';
import type { Report } from '../go-build.ts';
import { run } from './run.ts';

/** An image as a file for `ctr images import`. */
export interface ImageFile {
  readonly reference: string;
  readonly path: string;
}

export interface ImageBuild {
  readonly reference: string;
  /** The directory that COPY copies from. */
  readonly context: string;
  /** Path of a Dockerfile (default: that in the context). */
  readonly dockerfile?: string;
  readonly buildArguments?: Readonly<Record<string, string>>;
}

// buildah restarts itself without the variables that lead to its libraries, so its file system has
// the libraries in their usual place. Its mounts end with it, even when it is killed.
const script = `
mount -t overlay overlay -o lowerdir="$UNPACKED/usr:/usr" /usr
mount -t tmpfs tmpfs "$RUN_ROOT"
exec buildah "$@"`;

/** Builds images from Dockerfiles without daemon or registry. Base images must be built here. */
export class ImageBuilder {
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string>>;

  private constructor(directory: string, environment: Readonly<Record<string, string>>) {
    this.#directory = directory;
    this.#environment = environment;
  }

  static async prepare(report: Report): Promise<ImageBuilder | Missing> {
    const buildah = await prepareDebianPackages(['buildah'], report);
    if (isMissing(buildah)) return buildah;
    const directory = join(cacheDirectory(), 'buildah');
    const runRoot = join(directory, 'run');
    await mkdir(runRoot, { recursive: true });
    const files = {
      'storage.conf': `[storage]\ndriver = "overlay"\ngraphroot = "${directory}/images"\nrunroot = "${runRoot}"\n`,
      'registries.conf': 'unqualified-search-registries = []\n',
      'policy.json': '{ "default": [{ "type": "insecureAcceptAnything" }] }\n',
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
    return new ImageBuilder(directory, {
      UNPACKED: buildah.root,
      RUN_ROOT: runRoot,
      CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
      CONTAINERS_REGISTRIES_CONF: join(directory, 'registries.conf'),
    });
  }

  /** Whether an image of this name has been built here. */
  async has(reference: string): Promise<boolean> {
    const found = await this.#run(['images', '--quiet', reference]).catch(() => '');
    return found.trim() !== '';
  }

  async build(build: ImageBuild): Promise<void> {
    const { reference, context, dockerfile = join(context, 'Dockerfile') } = build;
    const buildArguments = Object.entries(build.buildArguments ?? {}).flatMap(([name, value]) => [
      '--build-arg',
      `${name}=${value}`,
    ]);
    await this.#run([
      ...['bud', '--quiet', '--pull=never', '--isolation=chroot', '--network=host', '--layers'],
      ...[...this.#policy, ...buildArguments],
      ...['--file', dockerfile, '--tag', reference, context],
    ]);
  }

  async tag(reference: string, also: string): Promise<void> {
    await this.#run(['tag', reference, also]);
  }

  /** Writes an image that was built to `path`. */
  async save(reference: string, path: string): Promise<ImageFile> {
    await rm(path, { force: true });
    await this.#run([
      'push',
      '--quiet',
      ...this.#policy,
      reference,
      `docker-archive:${path}:${reference}`,
    ]);
    return { reference, path };
  }

  get #policy(): string[] {
    return ['--signature-policy', join(this.#directory, 'policy.json')];
  }

  async #run(args: readonly string[]): Promise<string> {
    return run({
      command: 'unshare',
      args: ['--mount', '--propagation=private', 'bash', '-ec', script, 'buildah', ...args],
      env: this.#environment,
      timeoutMs: 10 * 60_000,
    });
  }
}

/** An image of files only, from the cache if possible. The keys are paths in the image. */
export async function filesImage(
  builder: ImageBuilder,
  image: {
    readonly reference: string;
    readonly files: Readonly<Record<string, string>>;
    readonly instructions: readonly string[];
  },
): Promise<ImageFile> {
  const { reference, files, instructions } = image;
  const texts = [reference, ...Object.keys(files), ...instructions];
  const key = await cacheKey({ texts, files: Object.values(files) });
  const name = reference.replaceAll(/[^a-z0-9]+/g, '-');
  const directory = join(cacheDirectory(), 'images', `${name}-${key}`);
  await publish(directory, async (partial) => {
    await withContext(async (context) => {
      for (const [path, file] of Object.entries(files)) {
        await mkdir(dirname(join(context, 'root', path)), { recursive: true });
        await copyFile(file, join(context, 'root', path));
      }
      const dockerfile = ['FROM scratch', 'COPY root/ /', ...instructions].join('\n');
      await writeFile(join(context, 'Dockerfile'), dockerfile);
      await builder.build({ reference, context });
      await builder.save(reference, join(partial, 'image.tar'));
    });
  });
  return { reference, path: join(directory, 'image.tar') };
}

/** A temporary build directory, which is deleted when `use` ends. */
export async function withContext<T>(use: (context: string) => Promise<T>): Promise<T> {
  const context = await mkdtemp(join(tmpdir(), 'culvert-image-'));
  try {
    return await use(context);
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}
