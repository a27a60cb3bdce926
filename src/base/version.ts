import { readFileSync } from 'node:fs';

interface Manifest {
  readonly version: string;
}

/**
 * The version in package.json. `culvert --version` prints it, and agents and brokers send it to
 * each other.
 */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest
).version;
