import { readFile } from 'node:fs/promises';
import { Secret } from '../secret.ts';

/**
 * Reads a credential from a file. White space at the end is removed, because editors and `kubectl
 * create secret` add it. Programs call this function at each connect and not only at the start, so
 * a rotated file is used without a restart.
 *
 * @throws Error with the path and the reason when the file cannot be read or holds nothing
 */
export async function readSecretFile(path: string): Promise<Secret> {
  const text = (await readFile(path, 'utf8')).trim();
  if (text === '') throw new Error(`${path} is empty, a token was expected in it`);
  return new Secret(text);
}
