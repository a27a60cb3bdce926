import { X509Certificate } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { configuration, HubWorld } from '../controllers/hub-world.ts';
import {
  argsOf,
  configurationObject,
  configurationOf,
  containerOf,
  hub,
  plan,
  podOf,
  rendered,
  secret,
} from './hub-fixture.ts';

/** The configuration with `spec.userServer` and a type of signer. */
function withUserServer(userServer: object | undefined, signer = 'SelfSigned') {
  const object = configurationObject();
  const spec = fields(object['spec']);
  const authentication = { ...fields(spec['authentication']), signer: { type: signer } };
  return parseManagedProxyConfiguration({
    ...object,
    spec: { ...spec, authentication, ...(userServer && { userServer }) },
  });
}
const served = { settings: { enableServiceProxy: true } };
const gatewayArgs = [
  '--gateway-listen=[::]:9092',
  '--gateway-tls-cert=/etc/user-server-pki/tls.crt',
  '--gateway-tls-key=/etc/user-server-pki/tls.key',
  `--exposed-services-configmap=${hub}/cluster-proxy-exposed-services`,
  `--cluster-settings-configmap=${hub}/cluster-proxy-cluster-settings`,
];
const isServed = (from: ReturnType<typeof plan>) =>
  gatewayArgs.every((arg) => argsOf(from).includes(arg));
const certificate = secret('cluster-proxy-user-serving-cert', { 'tls.crt': 'x', 'tls.key': 'y' });

describe('the user-server', () => {
  it('Brokers serve the user-server with the certificate that the addon issues', () => {
    const planned = plan(withUserServer({ additionalSANs: ['proxy.example'] }), served);
    expect(isServed(planned)).toBe(true);
    expect(planned.userServerSans).toEqual([
      '127.0.0.1',
      'localhost',
      'cluster-proxy-addon-user',
      `cluster-proxy-addon-user.${hub}`,
      `cluster-proxy-addon-user.${hub}.svc`,
      `cluster-proxy-addon-user.${hub}.svc.cluster.local`,
      'proxy.example',
    ]);
    expect(items(containerOf(planned)['ports'])).toContainEqual({
      name: 'https',
      containerPort: 9092,
      protocol: 'TCP',
    });
    expect(items(fields(podOf(planned)['spec'])['volumes'])).toContainEqual({
      name: 'user-server-certs',
      secret: { secretName: 'cluster-proxy-user-serving-cert' },
    });
  });

  it('Brokers serve the user-server with a provided certificate, and not before it exists', () => {
    for (const configuration of [
      withUserServer(undefined),
      withUserServer({}, 'Provided'),
      withUserServer({}, 'CertManager'),
    ]) {
      expect(configuration.problems).toEqual([]);
      expect(configuration.ignored).toEqual([]);
      expect(isServed(plan(configuration, { ...served, objects: [] }))).toBe(false);
      const planned = plan(configuration, { ...served, objects: [certificate] });
      expect(isServed(planned)).toBe(true);
      expect(planned.userServerSans).toBeUndefined();
    }
  });

  it('Names for a certificate that the addon does not issue are reported as ignored', () => {
    const { ignored } = withUserServer({ additionalSANs: ['proxy.example'] }, 'Provided');
    expect(ignored).toEqual([
      {
        field: 'spec.userServer.additionalSANs',
        sentence: 'is for the signer SelfSigned, the type of the signer is Provided',
      },
    ]);
  });

  it('Brokers do not serve the user-server when it is switched off', () => {
    const planned = plan(withUserServer({}), { objects: [certificate] });
    expect(argsOf(planned).join()).not.toContain('gateway');
    expect(argsOf(plan(configurationOf(), { objects: [certificate] })).join()).not.toContain(
      'gateway',
    );
  });

  it('The ConfigMap with the exposed Services and the NetworkPolicy follow the settings', () => {
    const settings = {
      enableServiceProxy: true,
      enableNetworkPolicies: true,
      exposedServicesConfigmap: 'other',
    };
    const planned = plan(withUserServer({}), { settings });
    expect(argsOf(planned)).toContain(`--exposed-services-configmap=${hub}/other`);
    const [ingress] = items(fields(rendered(planned, 'NetworkPolicy')['spec'])['ingress']);
    expect(items(ingress?.['ports']).map(({ port }) => port)).toEqual([8090, 8091, 8092, 9092]);
  });

  it.each([
    [true, 1],
    [false, 0],
  ])(
    'The NetworkPolicy with enableServiceProxy %s has %i rules that let brokers reach OIDC issuers',
    (enableServiceProxy, count) => {
      const settings = { enableServiceProxy, enableNetworkPolicies: true, apiServerPorts: [6443] };
      const planned = plan(withUserServer({}), { settings });
      const egress = items(fields(rendered(planned, 'NetworkPolicy')['spec'])['egress']);
      const everyPort = [{ protocol: 'TCP' }];
      const rules = egress.filter((rule) => isDeepStrictEqual(rule, { ports: everyPort }));
      expect(rules).toHaveLength(count);
    },
  );

  it('The manager issues the certificate of the user-server, and reports it', async () => {
    const object = configuration();
    const userServer = { additionalSANs: ['proxy.example'] };
    const spec = { ...fields(object['spec']), userServer };
    const world = await HubWorld.create({ configuration: { ...object, spec } });
    await world.start();
    await world.until(() => {
      const signed = world.condition(world.configuration, 'UserServerSecretSigned');
      return signed?.['status'] === 'True';
    });
    const stored = world.find('Secret', 'cluster-proxy-user-serving-cert', hub);
    const pem = Buffer.from(String(fields(stored?.['data'])['tls.crt']), 'base64').toString();
    const { subjectAltName } = new X509Certificate(pem);
    expect(subjectAltName).toContain('DNS:proxy.example');
    expect(subjectAltName).toContain(`DNS:cluster-proxy-addon-user.${hub}.svc`);
    const args = items(
      fields(
        fields(fields(world.find('Deployment', 'cluster-proxy', hub)?.['spec'])['template'])[
          'spec'
        ],
      )['containers'],
    )[0]?.['args'];
    expect(args).toEqual(expect.arrayContaining(gatewayArgs));
  });

  it('The manager leaves a provided certificate alone, and serves with it at once', async () => {
    const world = await HubWorld.create();
    await world.start();
    await world.until(() => world.find('Deployment', 'cluster-proxy', hub) !== undefined);
    const argsNow = () => JSON.stringify(world.find('Deployment', 'cluster-proxy', hub)?.['spec']);
    expect(argsNow()).not.toContain('gateway-listen');
    world.api.put(certificate);
    await world.until(() => argsNow().includes('gateway-listen'));
    await world.settle();
    const stored = world.find('Secret', 'cluster-proxy-user-serving-cert', hub);
    expect(stored?.['data']).toEqual(certificate['data']);
  });
});
