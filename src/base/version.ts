import { readFileSync } from 'node:fs';

interface Manifest {
  readonly version: string;
}

/** The version in package.json: what `culvert --version` prints and what agents and brokers tell each other. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest
).version;
