import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** A requirement of tests that this machine does not have, and the reason. */
export interface Missing {
  readonly missing: string;
  readonly reason: string;
}

export function isMissing(found: object): found is Missing {
  return 'missing' in found;
}

/** The directory of prepared programs, which all checkouts share. GROUND_CACHE overrides it. */
export function cacheDirectory(): string {
  const configured = process.env['GROUND_CACHE'];
  return configured ? resolve(configured) : join(homedir(), '.cache', 'culvert-ground');
}

/**
 * Fills `directory` once. `fill` works in another directory, which is renamed when it is complete,
 * so neither a crash nor a second run at the same time leaves half a directory to be found.
 */
export async function publish(
  directory: string,
  fill: (partial: string) => Promise<void>,
): Promise<void> {
  if (existsSync(directory)) return;
  await mkdir(dirname(directory), { recursive: true });
  const partial = await mkdtemp(`${directory}.partial-`);
  try {
    await fill(partial);
    await rename(partial, directory);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Another run was faster. Its result has the same key, so it is the same.
    if (!existsSync(directory)) throw error;
  }
}

/** A short key that changes when one of the texts or files does. */
export async function cacheKey(parts: {
  readonly texts: readonly string[];
  readonly files: readonly string[];
}): Promise<string> {
  const hash = createHash('sha256');
  for (const text of parts.texts) hash.update(`${text}\0`);
  for (const file of [...parts.files].sort()) hash.update(await readFile(file)).update('\0');
  return hash.digest('hex').slice(0, 16);
}
