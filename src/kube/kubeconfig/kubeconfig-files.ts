import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { KubeconfigDocument } from './kubeconfig-document.ts';
import { KubeconfigWriteError } from './kubeconfig-error.ts';

/** The kubeconfigs of a user. */
export interface KubeconfigFiles {
  readonly documents: readonly KubeconfigDocument[];
  /** The file for new entries. It is one of `documents`. */
  readonly target: KubeconfigDocument;
  /** Writes the files that have changed. @returns their paths @throws KubeconfigWriteError */
  write(this: void): Promise<readonly string[]>;
}

/**
 * Reads kubeconfigs, to change them. As with kubectl, new entries go into the first file that
 * exists. If none exists, they go into the last one.
 *
 * @throws KubeconfigWriteError
 */
export async function readKubeconfigs(paths: readonly string[]): Promise<KubeconfigFiles> {
  const files: { document: KubeconfigDocument; text: string | undefined; unchanged: string }[] = [];
  for (const path of paths) {
    const text = await readIfExists(path);
    const document = new KubeconfigDocument(path, text ?? '');
    files.push({ document, text, unchanged: document.text });
  }
  const target = files.find(({ text }) => text !== undefined) ?? files.at(-1)!;
  return {
    documents: files.map(({ document }) => document),
    target: target.document,
    write: async () => {
      const changed = files.filter(({ document, unchanged }) => document.text !== unchanged);
      for (const { document, text } of changed) await writeUnlessChanged(document, text);
      return changed.map(({ document }) => document.path);
    },
  };
}

/**
 * Replaces a kubeconfig in one step, readable only by its owner.
 *
 * @param before the text from which the document was made
 * @throws KubeconfigWriteError another program is writing the file, or has written it
 */
async function writeUnlessChanged(
  { path, text }: KubeconfigDocument,
  before: string | undefined,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // The file may be a link, for example into a folder of settings that is kept in git.
  const real = await realpath(path).catch(() => path);
  const lock = `${path}.lock`;
  try {
    // kubectl takes the same lock.
    await (await open(lock, 'wx', 0o600)).close();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw cannotWrite(path, thrown);
    throw new KubeconfigWriteError(
      `${path} is locked by another program, try again; if no kubectl is running, remove ${lock}`,
    );
  }
  try {
    if ((await readIfExists(path)) !== before) {
      throw new KubeconfigWriteError(`${path} was changed in the meantime, run the command again`);
    }
    await replaceFile(real, text);
  } finally {
    await rm(lock, { force: true });
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw cannotWrite(path, thrown);
  }
}

async function readIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new KubeconfigWriteError(`${path} cannot be read: ${code}`, { cause: thrown });
  }
}

const cannotWrite = (path: string, cause: unknown) =>
  new KubeconfigWriteError(
    `${path} cannot be written: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`,
    { cause },
  );
