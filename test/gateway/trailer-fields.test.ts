import { expect, it } from 'vitest';
import { trailerFields } from '../../src/gateway/trailer-fields.ts';

it('Trailers that a server could take for fields of the head are removed in every spelling', () => {
  const removed = [
    ...['Authorization', 'Impersonate-User', 'impersonate_group', 'Cluster-Proxy-Host', 'Host'],
    ...['Content-Length', 'Transfer-Encoding', 'X-Forwarded-For', 'X_Remote_User', 'Connection'],
  ];
  const trailers = [...removed, 'X-Sum', 'Grpc-Status'].map((name) => [name, 'a'] as const);
  expect(trailerFields(trailers)).toEqual([
    ['X-Sum', 'a'],
    ['Grpc-Status', 'a'],
  ]);
  expect(trailerFields(undefined)).toBeUndefined();
});
