import { createHash } from 'node:crypto';
import type { KubeObject } from '../../kube/client/kube-object.ts';

/** Each configuration is hashed once for all clusters. */
const knownHashes = new WeakMap<KubeObject, string>();

/**
 * The hash of a configuration as OCM writes it into `desiredConfig.specHash`: hex sha256 of the
 * JSON of everything but apiVersion, kind, metadata and status. OCM compares these texts, so every
 * byte must be what Go's encoding/json would write.
 *
 * @param object as the API server stores it: a field that was left out must not be filled in
 */
export function specHash(object: KubeObject): string {
  const { apiVersion: _, kind: _kind, metadata: _metadata, status: _status, ...config } = object;
  const hash = knownHashes.get(object) ?? contentHash(config);
  knownHashes.set(object, hash);
  return hash;
}

/** The hex sha256 of a JSON value. It does not depend on the order of keys. */
export function contentHash(value: unknown): string {
  return createHash('sha256').update(goJson(value)).digest('hex');
}

/**
 * JSON as Go's encoding/json writes a map: keys in byte order; <, >, &, U+2028 and U+2029 escaped.
 * Written out, because an object of JavaScript puts keys like "10" before all others.
 */
function goJson(value: unknown): string {
  if (typeof value === 'string') return goString(value);
  if (Array.isArray(value)) return `[${value.map(goJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => ({
      key: Buffer.from(key),
      json: `${goString(key)}:${goJson(member)}`,
    }));
  members.sort((a, b) => Buffer.compare(a.key, b.key));
  return `{${members.map(({ json }) => json).join(',')}}`;
}

const escapedByGo = /[<>&\u2028\u2029]/g;

function goString(text: string): string {
  return JSON.stringify(text).replaceAll(
    escapedByGo,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
