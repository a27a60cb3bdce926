import { readFile } from 'node:fs/promises';
import { Secret } from '../secret.ts';

/**
 * Reads a credential from a file, without the white space that editors and `kubectl create secret` leave at its end.
 * Programs call it at each connect instead of once at the start, so a rotated file is used without a restart.
 *
 * @throws Error with the path and the reason when the file cannot be read or holds nothing
 */
export async function readSecretFile(path: string): Promise<Secret> {
  const text = (await readFile(path, 'utf8')).trim();
  if (text === '') throw new Error(`${path} is empty, a token was expected in it`);
  return new Secret(text);
}
