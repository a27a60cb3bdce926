import { rootCertificates } from 'node:tls';
import { expect, it } from 'vitest';
import { issuerCa } from '../../../src/addon/cluster/issuer-ca.ts';

it("A ConfigMap with an issuer's CAs is read once for all clusters", () => {
  let reads = 0;
  const configMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'cas', namespace: 'hub' },
    get data() {
      reads++;
      return { 'ca.crt': rootCertificates[0] };
    },
  };
  const first = issuerCa(configMap, 'ConfigMap hub/cas');
  expect(first.ca).toContain('BEGIN CERTIFICATE');
  expect(issuerCa(configMap, 'ConfigMap hub/cas')).toEqual(first);
  expect(reads).toBe(1);
});
