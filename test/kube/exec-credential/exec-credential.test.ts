import { describe, expect, it } from 'vitest';
import { Secret } from '../../../src/base/secret.ts';
import { execCredential } from '../../../src/kube/exec-credential/exec-credential.ts';
import { readExecInfo } from '../../../src/kube/exec-credential/exec-info.ts';
import {
  tokenOfSecret,
  tokenOfServiceAccount,
} from '../../../src/kube/exec-credential/token-sources.ts';
import { MemoryKubeApi } from '../../../testkit/kube/memory-kube-api.ts';

const v1 = 'client.authentication.k8s.io/v1';
const now = new Date('2026-01-01T00:00:00.000Z');
const inSeconds = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const { signal } = new AbortController();

const infoOf = (spec: object, apiVersion: unknown = v1) =>
  JSON.stringify({ kind: 'ExecCredential', apiVersion, spec });

describe('the information of a client for its exec plugin', () => {
  it.each([v1, 'client.authentication.k8s.io/v1beta1'])(
    'An exec plugin answers in version %s and knows the cluster',
    (apiVersion) => {
      const cluster = { server: 'https://x', config: { clusterName: 'prod-1', other: 1 } };
      expect(readExecInfo(infoOf({ cluster, interactive: false }, apiVersion))).toEqual({
        apiVersion,
        clusterName: 'prod-1',
      });
    },
  );

  it('An exec plugin that no client runs, or without information about the cluster, knows no cluster', () => {
    const none = { apiVersion: v1, clusterName: undefined };
    expect(readExecInfo(undefined)).toEqual(none);
    expect(readExecInfo(infoOf({}))).toEqual(none);
    expect(readExecInfo(infoOf({ cluster: { server: 'x', config: null } }))).toEqual(none);
  });

  it.each([
    ['{', 'holds no ExecCredential'],
    ['null', 'holds no ExecCredential'],
    [infoOf({}, 'client.authentication.k8s.io/v1alpha1'), 'the client wants an answer in version'],
    [infoOf({ cluster: { config: { clusterName: '../etc' } } }), 'is not the name of a cluster'],
    [infoOf({ cluster: { config: { clusterName: 7 } } }), 'is not the name of a cluster'],
  ])('An exec plugin refuses the information %j', (text, message) => {
    expect(() => readExecInfo(text)).toThrow(message);
  });
});

describe('the answer of an exec plugin', () => {
  const answer = (expiresAt: Date | undefined) =>
    JSON.parse(execCredential(v1, { token: new Secret('t'), expiresAt }, now)) as object;

  it('The answer of an exec plugin lets the client ask again a minute before the token expires', () => {
    expect(answer(inSeconds(3600))).toEqual({
      kind: 'ExecCredential',
      apiVersion: v1,
      status: { token: 't', expirationTimestamp: '2026-01-01T00:59:00Z' },
    });
    expect(answer(inSeconds(90))).toMatchObject({
      status: { expirationTimestamp: '2026-01-01T00:01:30Z' },
    });
    expect(answer(undefined)).toMatchObject({ status: { token: 't' } });
  });

  it('An exec plugin refuses a token that has expired', () => {
    expect(() => answer(now)).toThrow('the token has expired at 2026-01-01T00:00:00.000Z');
  });
});

describe('the tokens of the hub', () => {
  const secret = (token: string | undefined) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'prod-1', name: 'reader' },
    data: token === undefined ? {} : { token: Buffer.from(token).toString('base64') },
  });
  const jwt = (claims: object) =>
    `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
  const read = async (token: string | undefined) => {
    const hub = new MemoryKubeApi({ namespaces: ['prod-1'] });
    await hub.create(secret(token), { signal });
    return await tokenOfSecret(hub, { namespace: 'prod-1', name: 'reader' });
  };

  it('The token of a ManagedServiceAccount expires when its claim says so', async () => {
    const token = jwt({ exp: inSeconds(60).getTime() / 1000 });
    const found = await read(token);
    expect(found.token.reveal()).toBe(token);
    expect(found.expiresAt).toEqual(inSeconds(60));
    expect((await read('opaque')).expiresAt).toBeUndefined();
    expect((await read(jwt({ sub: 'x' }))).expiresAt).toBeUndefined();
  });

  it('A missing Secret of a ManagedServiceAccount, or a Secret without a token, is reported with the next step', async () => {
    await expect(read(undefined)).rejects.toThrow(
      'Secret prod-1/reader on the hub has no token yet',
    );
    const hub = new MemoryKubeApi();
    await expect(tokenOfSecret(hub, { namespace: 'prod-1', name: 'reader' })).rejects.toThrow(
      'is there a ManagedServiceAccount',
    );
  });

  it('A token of a ServiceAccount is requested with its audiences and its lifetime', async () => {
    const asked: unknown[] = [];
    const hub = new MemoryKubeApi();
    hub.createSubresource = (ref, subresource, object) => {
      asked.push(ref, subresource, object['spec']);
      const status = { token: 'tok', expirationTimestamp: '2026-01-01T01:00:00Z' };
      return Promise.resolve({ ...object, status } as never);
    };
    const found = await tokenOfServiceAccount(hub, {
      namespace: 'team-a',
      name: 'deployer',
      audiences: ['a'],
      ttlMs: 600_500,
    });
    expect(found).toEqual({ token: new Secret('tok'), expiresAt: inSeconds(3600) });
    expect(asked).toEqual([
      { apiVersion: 'v1', kind: 'ServiceAccount', namespace: 'team-a', name: 'deployer' },
      'token',
      { audiences: ['a'], expirationSeconds: 601 },
    ]);
  });
});
