import { createPrivateKey } from 'node:crypto';
import { expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { readCaCertificates } from '../../../src/base/tls/ca-certificates.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { hub, HubWorld } from './hub-world.ts';

const clusters = ['cluster1', 'cluster2'];

/** All texts in an object, and the decoded form of texts in base64. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') {
    const isBase64 = value.length >= 16 && /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(value);
    return isBase64 ? [value, Buffer.from(value, 'base64').toString('utf8')] : [value];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...textsIn(inner)]);
}

/** A hub with all its Secrets, and the addon manager's objects for two clusters. */
async function shipped() {
  const world = await HubWorld.create({ clusters });
  await world.start();
  await world.until(() => clusters.every((name) => world.work(name) !== undefined));
  await world.settle();
  const objects = world.api.all();
  const ofHub = objects.filter(
    ({ kind, metadata }) => kind === 'Secret' && metadata.namespace === hub,
  );
  const ofClusters = (cluster: string) =>
    objects.filter(({ metadata }) => metadata.namespace === cluster);
  return { ofHub, ofClusters };
}

/** The values of a Secret that only the hub may know: all but certificates. */
function secretTextsOf(secret: KubeObject): readonly string[] {
  const data = Object.values((secret['data'] ?? {}) as Record<string, string>);
  return data
    .map((base64) => Buffer.from(base64, 'base64').toString('utf8'))
    .filter((text) => !text.includes('BEGIN CERTIFICATE'));
}

function isPrivateKey(text: string): boolean {
  try {
    createPrivateKey(text);
    return true;
  } catch {
    return false;
  }
}

it('The objects for clusters hold no key, password or token of the hub', async () => {
  const { ofHub, ofClusters } = await shipped();
  const names = ofHub.map(({ metadata }) => metadata.name).sort();
  expect(names).toEqual(
    expect.arrayContaining([
      'agent-server',
      'cluster-proxy-agent-signer',
      'cluster-proxy-signer',
      'proxy-client',
      'proxy-server',
    ]),
  );
  // The replicas' shared key, and each line of the private keys, because a part is a leak, too.
  const secrets = ofHub
    .flatMap(secretTextsOf)
    .flatMap((text) => text.split('\n'))
    .filter((line) => line.length >= 16 && !line.startsWith('-----'));
  expect(secrets.length).toBeGreaterThan(10);
  for (const cluster of clusters) {
    const objects = ofClusters(cluster);
    expect(objects.map(({ kind }) => kind)).toContain('ManifestWork');
    const texts = objects.flatMap(textsIn);
    for (const secret of secrets) {
      expect(texts.some((text) => text.includes(secret))).toBe(false);
    }
    for (const text of texts) {
      expect(text).not.toMatch(/PRIVATE KEY|eyJ[\w-]{10,}\./);
      expect(isPrivateKey(text)).toBe(false);
    }
  }
});

it('The only Secret for clusters holds certificates of CAs', async () => {
  const { ofClusters } = await shipped();
  for (const cluster of clusters) {
    const works = ofClusters(cluster).filter(({ kind }) => kind === 'ManifestWork');
    const secrets = works
      .flatMap(({ spec }) => items(fields(fields(spec).workload).manifests))
      .filter(({ kind }) => kind === 'Secret');
    expect(secrets.map(({ metadata }) => fields(metadata).name)).toEqual(['cluster-proxy-ca']);
    const data = fields(secrets[0]!.data);
    expect(Object.keys(data)).toEqual(['ca.crt']);
    const pem = Buffer.from(String(data['ca.crt']), 'base64').toString();
    expect(readCaCertificates(pem, 'clients')).toBe(pem);
  }
});
