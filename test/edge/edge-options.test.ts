import { expect, it } from 'vitest';
import { generateTokenKeyPair } from '../../src/base/tokens/enrolment-token.ts';
import { readEdgeOptions } from '../../src/broker/edge/edge-options.ts';

const { publicKeyPem: first } = await generateTokenKeyPair();
const { publicKeyPem: second } = await generateTokenKeyPair();

it('The edge options accept several keys in one text, with escaped line ends or real ones', () => {
  const { tokenPublicKeys } = readEdgeOptions({
    CULVERT_TOKEN_PUBLIC_KEY: `${first}\n${second.replaceAll('\n', '\\n')}`,
    CLUSTER: {},
  });
  expect(tokenPublicKeys.map((key) => key.trim())).toEqual([first.trim(), second.trim()]);
});

it('The edge options have defaults for variables that are not set or empty', () => {
  expect(readEdgeOptions({ CULVERT_OPEN: 'true', CULVERT_ACCEPT_RATE: '' })).toEqual({
    tokenPublicKeys: [],
    acceptRate: 200,
    logLevel: 'info',
    silenceLimitMs: 60_000,
    access: { policy: undefined, hub: undefined, asksHubAccess: false },
    gateway: undefined,
  });
});

it('The edge options report all problems together, without values', () => {
  const read = () =>
    readEdgeOptions({
      CULVERT_TOKEN_PUBLIC_KEY: 'no key at all',
      CULVERT_OPEN: 'yes',
      CULVERT_ACCEPT_RATE: '0',
      CULVERT_LOG_LEVEL: 'loud',
      CULVERT_SILENCE_LIMIT: '60',
      CULVERT_OPNE: 'true',
    });
  expect(read).toThrow(
    'CULVERT_OPNE is unknown; CULVERT_TOKEN_PUBLIC_KEY is not what it should be; ' +
      'CULVERT_OPEN is not what it should be; CULVERT_ACCEPT_RATE is not what it should be; ' +
      'CULVERT_LOG_LEVEL is not what it should be; CULVERT_SILENCE_LIMIT is not what it should be; ' +
      'CULVERT_TOKEN_PUBLIC_KEY is not set',
  );
  expect(read).not.toThrow('no key at all');
});

it('The edge options refuse variables of a gateway that is off, and hub access without a server', () => {
  const off = () => readEdgeOptions({ CULVERT_OPEN: 'true', CULVERT_EXPOSED_SERVICES: '[]' });
  expect(off).toThrow('CULVERT_EXPOSED_SERVICES is for CULVERT_GATEWAY, which is not "true"');
  const wrong = () =>
    readEdgeOptions({
      CULVERT_OPEN: 'true',
      CULVERT_GATEWAY: 'true',
      CULVERT_POLICY: 'rules: 1',
      CULVERT_EXPOSED_SERVICES: '- namespace: a',
      CULVERT_HUB_API_SERVER: 'http://hub.example.com',
      CULVERT_SUBJECT_ACCESS_REVIEW: 'true',
      CULVERT_OIDC_ISSUER_URL: 'https://issuer.example.com',
      CULVERT_GATEWAY_LISTEN: '0.0.0.0:9092',
    });
  for (const text of [
    'CULVERT_GATEWAY_LISTEN is unknown',
    'CULVERT_HUB_API_SERVER is not what it should be',
    'CULVERT_SUBJECT_ACCESS_REVIEW needs CULVERT_HUB_API_SERVER as well',
    'CULVERT_POLICY: ',
    'CULVERT_EXPOSED_SERVICES: ',
    '--oidc-issuer-url and --oidc-client-id must be specified together',
  ]) {
    expect(wrong).toThrow(text);
  }
});

it('The edge options read a gateway', () => {
  const { gateway, access } = readEdgeOptions({
    CULVERT_OPEN: 'true',
    CULVERT_GATEWAY: 'true',
    CULVERT_GATEWAY_DOMAIN: 'Clusters.example.com',
    CULVERT_EXPOSED_SERVICES: '[{"namespace": "a", "service": "b", "port": 80}]',
    CULVERT_HUB_API_SERVER: 'https://hub.example.com',
    CULVERT_HUB_API_TOKEN: 'secret',
  });
  expect(gateway).toMatchObject({
    domain: 'clusters.example.com',
    exposedServices: { size: 1 },
    clusterSettings: [],
    oidc: undefined,
  });
  expect(access).toMatchObject({ hub: { token: 'secret' }, policy: undefined });
});

it('The edge options refuse a policy that selects clusters by labels, if no hub tells the labels', () => {
  const read = (hub: object) =>
    readEdgeOptions({
      CULVERT_OPEN: 'true',
      CULVERT_POLICY: JSON.stringify({
        rules: [
          {
            name: 'production',
            subjects: { tokens: ['*'] },
            clusters: { selector: 'env=prod' },
            allow: [{ all: true }],
          },
        ],
      }),
      ...hub,
    });
  expect(() => read({})).toThrow(
    'CULVERT_POLICY: rule production: it selects clusters by labels, but without CULVERT_HUB_API_SERVER the Worker knows no labels',
  );
  const hub = {
    CULVERT_HUB_API_SERVER: 'https://hub.example.com',
    CULVERT_HUB_API_TOKEN: 'secret',
  };
  expect(read(hub).access.policy).toMatchObject({ rules: [{ name: 'production' }] });
});

it('The edge options read settings of clusters, whose issuers must have certificates of public CAs', () => {
  const read = (ca: object) => {
    const oidc = { options: { issuerUrl: 'https://issuer.example.com', clientId: 'a' }, ...ca };
    const groups = [{ clusters: ['c1'], hubTokens: false, oidc }];
    const settings = { CULVERT_CLUSTER_SETTINGS: JSON.stringify({ groups }) };
    return readEdgeOptions({ CULVERT_OPEN: 'true', CULVERT_GATEWAY: 'true', ...settings }).gateway;
  };
  expect(read({})).toMatchObject({ clusterSettings: [{ clusters: ['c1'], hubTokens: false }] });
  expect(() => read({ ca: 'PEM' })).toThrow(
    'CULVERT_CLUSTER_SETTINGS: cluster c1: the issuer https://issuer.example.com has a CA of its own',
  );
});

it('The edge options read the name of the ConfigMap with settings of clusters, which needs a hub', () => {
  const read = (variables: object) =>
    readEdgeOptions({
      ...{ CULVERT_OPEN: 'true', CULVERT_GATEWAY: 'true' },
      CULVERT_CLUSTER_SETTINGS_CONFIGMAP: 'hub/cluster-settings',
      ...variables,
    }).gateway;
  const hub = {
    CULVERT_HUB_API_SERVER: 'https://hub.example.com',
    CULVERT_HUB_API_TOKEN: 'secret',
  };
  expect(read(hub)).toMatchObject({
    clusterSettingsConfigMap: { namespace: 'hub', name: 'cluster-settings' },
  });
  expect(() => read({})).toThrow('CULVERT_CLUSTER_SETTINGS_CONFIGMAP needs CULVERT_HUB_API_SERVER');
  expect(() => read({ ...hub, CULVERT_CLUSTER_SETTINGS: '{"groups":[]}' })).toThrow(
    'CULVERT_CLUSTER_SETTINGS and CULVERT_CLUSTER_SETTINGS_CONFIGMAP cannot be set together',
  );
  for (const name of ['settings', 'a/b/c', 'hub/../secrets', 'hub/']) {
    const wrong = () => read({ ...hub, CULVERT_CLUSTER_SETTINGS_CONFIGMAP: name });
    expect(wrong).toThrow('CULVERT_CLUSTER_SETTINGS_CONFIGMAP is not what it should be');
  }
});
