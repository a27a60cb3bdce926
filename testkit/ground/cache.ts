import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** Something real that tests want and this machine does not have, and why. */
export interface Missing {
  readonly missing: string;
  readonly reason: string;
}

export function isMissing(found: object): found is Missing {
  return 'missing' in found;
}

/** Where prepared programs are kept: outside the checkout, shared by all checkouts. GROUND_CACHE moves it. */
export function cacheDirectory(): string {
  const configured = process.env['GROUND_CACHE'];
  return configured ? resolve(configured) : join(homedir(), '.cache', 'culvert-ground');
}

/**
 * Fills `directory` once: `fill` works in a neighbour that takes the final name only when it is complete,
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
    // Another run was faster: what it published has the same key, so it is the same.
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
