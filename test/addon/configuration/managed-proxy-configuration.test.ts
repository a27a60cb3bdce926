import { describe, expect, it } from 'vitest';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { objectWith } from './custom-resource-definition.ts';

const images = { proxyServer: { image: 'broker:1' }, proxyAgent: { image: 'agent:1' } };
/** Parses a minimal configuration in which `path` has `value`. */
function parseWith(path: string, value: unknown) {
  const spec = structuredClone(images) as Record<string, unknown>;
  const [room = '', ...rest] = path.split('.');
  const under = rest.length === 0 ? value : objectWith(rest, value);
  const isObject = typeof under === 'object' && under !== null && room in spec;
  spec[room] = isObject ? { ...(spec[room] as object), ...under } : under;
  return parseManagedProxyConfiguration({ metadata: { name: 'cluster-proxy' }, spec });
}
const sentences = (list: readonly { field: string; sentence: string }[]) =>
  list.map(({ field, sentence }) => `${field} ${sentence}`);

describe('parseManagedProxyConfiguration', () => {
  it.each([undefined, null, 7, 'text', [], {}, { spec: null }, { spec: 'x', metadata: 3 }])(
    'parseManagedProxyConfiguration gives every default for %j, and names what is missing',
    (object) => {
      const { spec, problems } = parseManagedProxyConfiguration(object);
      expect(spec.proxyServer).toMatchObject({
        replicas: 3,
        namespace: 'open-cluster-management-cluster-proxy',
        entrypoint: {
          type: 'PortForward',
          port: 8091,
          loadBalancerService: { name: 'proxy-agent-entrypoint' },
        },
        redis: undefined,
      });
      expect(spec.userServer).toBeUndefined();
      expect(sentences(problems)).toEqual(
        expect.arrayContaining([
          'spec.proxyServer.image is missing',
          'spec.proxyAgent.image is missing',
        ]),
      );
    },
  );

  it.each([
    'authentication',
    'authentication.signer',
    'authentication.dump',
    'proxyServer.entrypoint',
    'proxyServer.entrypoint.hostname',
    'proxyServer.entrypoint.loadBalancerService',
    'proxyServer.nodePlacement',
    'deploy',
  ])('parseManagedProxyConfiguration treats a null or an empty %s as missing', (path) => {
    const { problems, spec } = parseWith('userServer', undefined);
    expect(problems).toEqual([]);
    expect(parseWith(path, null)).toMatchObject({ problems: [], spec });
    expect(parseWith(path, {})).toMatchObject({ problems: [], spec });
  });

  it.each(['authentication', 'proxyServer.entrypoint', 'proxyServer.redis.secretRef'])(
    'parseManagedProxyConfiguration names %s once if it is no object',
    (path) => {
      const { problems } = parseWith(path, 'text');
      const field = `spec.${path}`;
      expect(problems.filter((problem) => problem.field === field)).toEqual([
        { field, sentence: 'is "text", an object is needed' },
      ]);
    },
  );

  it('parseManagedProxyConfiguration treats an empty text as missing', () => {
    const { spec, problems } = parseWith('proxyServer.namespace', '');
    expect(problems).toEqual([]);
    expect(spec.proxyServer.namespace).toBe('open-cluster-management-cluster-proxy');
  });

  it('parseManagedProxyConfiguration reads the identity, the generation and whether the object is being deleted', () => {
    const metadata = {
      name: 'other',
      uid: 'u-1',
      generation: 7,
      deletionTimestamp: '2026-01-01T00:00:00Z',
    };
    expect(parseManagedProxyConfiguration({ metadata })).toMatchObject({
      name: 'other',
      uid: 'u-1',
      generation: 7,
      isDeleted: true,
    });
  });

  it.each<[string, unknown, string]>([
    [
      'authentication.signer.type',
      'Vault',
      'is "Vault", one of SelfSigned, Provided, CertManager is needed',
    ],
    [
      'authentication.signer.selfSigned.additionalSANs',
      ['ok.example', 'https://no.example'],
      'is "https://no.example", a certificate can name a host, *.domain or an IP address',
    ],
    ['proxyServer.replicas', -1, 'is -1, a whole number from 0 to 1000 is needed'],
    ['proxyServer.replicas', 'three', 'is "three", a whole number from 0 to 1000 is needed'],
    ['proxyServer.replicas', 1.5, 'is 1.5, a whole number from 0 to 1000 is needed'],
    [
      'proxyServer.namespace',
      'Hub_1',
      'is "Hub_1", a DNS label is needed: lower case letters, digits and inner hyphens, at most 63',
    ],
    [
      'proxyServer.inClusterServiceName',
      '1st',
      'is "1st", the name of a Service is needed: lower case letters, digits and inner hyphens, first a letter, at most 63',
    ],
    ['proxyServer.entrypoint.port', 0, 'is 0, a whole number from 1 to 65535 is needed'],
    ['proxyServer.entrypoint.port', 65_536, 'is 65536, a whole number from 1 to 65535 is needed'],
    [
      'proxyServer.entrypoint.hostname.value',
      'wss://hub.example:443',
      'is "wss://hub.example:443", a host name or an IP address is needed, without scheme and port',
    ],
    [
      'proxyServer.entrypoint.hostname.value',
      '10.0.0.300',
      'is "10.0.0.300", a host name or an IP address is needed, without scheme and port',
    ],
    [
      'proxyServer.entrypoint.ingress.host',
      '10.0.0.1',
      'is "10.0.0.1", a host name in lower case is needed',
    ],
    [
      'proxyServer.entrypoint.edge.brokerUrl',
      'https://edge.example',
      'is no URL that starts with wss://',
    ],
    [
      'proxyServer.resources.requests',
      { cpu: 'much' },
      'is "much", a quantity is needed, such as 100m or 256Mi',
    ],
    [
      'proxyServer.redis',
      { url: 'http://redis' },
      'is no URL of a Redis: redis://, rediss://, redis+sentinel:// or redis+cluster://',
    ],
    [
      'proxyServer.redis',
      { url: 'redis://u:hunter2@redis' },
      'carries a user or password: put the whole URL into a Secret and name it in secretRef',
    ],
    ['proxyServer.redis', {}, 'is missing, give it or secretRef'],
    [
      'proxyServer.redis',
      { url: 'redis://r', secretRef: { name: 's' } },
      'names the URL of Redis a second time, keep either it or url',
    ],
    ['proxyServer.redis', { secretRef: {} }, 'is missing'],
    [
      'proxyAgent.allow',
      ['hub.example'],
      'is "hub.example": it is no destination: write host:port, *.suffix:port, host:* or CIDR:port',
    ],
    ['proxyAgent.allow', ['10.0.0.0/99:443'], 'is "10.0.0.0/99:443": it holds a malformed CIDR'],
    [
      'proxyAgent.imagePullSecrets',
      ['No Secret'],
      'is "No Secret", the name of an object is needed: lower case letters, digits, hyphens and dots',
    ],
  ])('parseManagedProxyConfiguration refuses %s: %j %s', (path, value, sentence) => {
    const { problems } = parseWith(path, value);
    expect(problems).toHaveLength(1);
    expect(problems[0]!.sentence).toBe(sentence);
    expect(problems[0]!.field).toMatch(new RegExp(`^spec\\.${path.replaceAll('.', '\\.')}`));
  });

  it.each<[string, unknown]>([
    ['proxyServer.entrypoint.hostname.value', '2001:db8::1'],
    ['proxyServer.entrypoint.hostname.value', 'Hub.Example'],
    [
      'authentication.signer.selfSigned.additionalSANs',
      ['foo', '*.hub.example', '10.0.0.1', '::1'],
    ],
    ['proxyServer.redis', { url: 'redis+sentinel://a:26379,b:26379/main/0' }],
    ['proxyAgent.allow', ['10.0.0.0/8:443', '[fd00::]/8:*', '*.svc:80', 'db:*']],
    ['proxyServer.resources', { requests: { cpu: 1, memory: '1Gi' }, limits: { cpu: '0.5' } }],
  ])('parseManagedProxyConfiguration accepts %s: %j', (path, value) => {
    expect(parseWith(path, value).problems).toEqual([]);
  });

  it.each([
    [
      { type: 'Hostname' },
      'spec.proxyServer.entrypoint.hostname.value is missing, type Hostname needs the name that agents connect to',
    ],
    [
      { type: 'Ingress' },
      'spec.proxyServer.entrypoint.ingress.host is missing, type Ingress needs the name that agents connect to',
    ],
    [
      { type: 'LoadBalancerService', loadBalancerService: { name: 'proxy-entrypoint' } },
      'spec.proxyServer.entrypoint.loadBalancerService.name is proxy-entrypoint, which is the name of the Service inside the cluster',
    ],
  ])('parseManagedProxyConfiguration names what an entrypoint %j needs', (entrypoint, sentence) => {
    expect(sentences(parseWith('proxyServer.entrypoint', entrypoint).problems)).toEqual([sentence]);
  });

  it('parseManagedProxyConfiguration refuses one name for two Secrets', () => {
    const names = {
      signingProxyServerSecretName: 'agent-server',
      signingProxyClientSecretName: 'agent-ca',
    };
    expect(sentences(parseWith('authentication.dump.secrets', names).problems)).toEqual([
      'spec.authentication.dump.secrets.signingProxyClientSecretName is agent-ca, which is the name of another Secret',
      'spec.authentication.dump.secrets.signingAgentServerSecretName is agent-server, which is the name of another Secret',
    ]);
  });

  it('parseManagedProxyConfiguration reads annotations, the later of two with the same key', () => {
    const annotations = [
      { key: 'cloud.example/kind', value: 'internal' },
      { key: 'plain' },
      { key: 'cloud.example/kind', value: 'Public, with "signs" no label may have' },
    ];
    const { spec, problems } = parseWith(
      'proxyServer.entrypoint.loadBalancerService.annotations',
      annotations,
    );
    expect(problems).toEqual([]);
    expect(spec.proxyServer.entrypoint.loadBalancerService.annotations).toEqual({
      'cloud.example/kind': 'Public, with "signs" no label may have',
      plain: '',
    });
  });

  it.each([[{ key: 'a b', value: '' }], [{ key: 'a/b/c' }], [{ value: 'no key' }]])(
    'parseManagedProxyConfiguration refuses an annotation %j',
    (annotation) => {
      const path = 'proxyServer.entrypoint.loadBalancerService.annotations';
      const { problems } = parseWith(path, [annotation]);
      expect(problems.map(({ field }) => field)).toEqual([`spec.${path}[0].key`]);
    },
  );

  it.each<[string, unknown, string]>([
    ['deploy.ports', { proxyServer: 9090 }, 'spec.deploy.ports.proxyServer'],
    ['deploy.ports', { adminServer: 1 }, 'spec.deploy.ports.adminServer'],
    [
      'proxyAgent.additionalServiceProxyArgs',
      ['--v=4'],
      'spec.proxyAgent.additionalServiceProxyArgs[0]',
    ],
    [
      'proxyServer.entrypoint.hostname.value',
      'hub.example',
      'spec.proxyServer.entrypoint.hostname',
    ],
    ['proxyServer.entrypoint.ingress.host', 'hub.example', 'spec.proxyServer.entrypoint.ingress'],
    [
      'proxyServer.entrypoint.edge.brokerUrl',
      'wss://edge.example',
      'spec.proxyServer.entrypoint.edge.brokerUrl',
    ],
    ['proxyServer.entrypoint.port', 443, 'spec.proxyServer.entrypoint.port'],
    [
      'proxyServer.entrypoint',
      { type: 'Ingress', port: 443, ingress: { host: 'hub.example' } },
      'spec.proxyServer.entrypoint.port',
    ],
    [
      'proxyServer.entrypoint.loadBalancerService.name',
      'other',
      'spec.proxyServer.entrypoint.loadBalancerService',
    ],
    [
      'proxyServer.entrypoint.loadBalancerService.annotations',
      [{ key: 'a', value: 'b' }],
      'spec.proxyServer.entrypoint.loadBalancerService',
    ],
    ['proxyAgent.additionalArgs', ['--sync-interval=1s'], 'spec.proxyAgent.additionalArgs[0]'],
  ])(
    'parseManagedProxyConfiguration accepts %s: %j, and reports that it has no effect',
    (path, value, field) => {
      const { problems, ignored } = parseWith(path, value);
      expect(problems).toEqual([]);
      expect(ignored.map((one) => one.field)).toEqual([field]);
    },
  );

  it.each([
    { type: 'Hostname', port: 443, hostname: { value: 'hub.example' } },
    { type: 'LoadBalancerService', port: 443, loadBalancerService: { name: 'other' } },
    { type: 'PortForward', port: 8091, loadBalancerService: { name: 'proxy-agent-entrypoint' } },
  ])(
    'parseManagedProxyConfiguration reports nothing for an entrypoint %j whose fields all have an effect',
    (entrypoint) => {
      expect(parseWith('proxyServer.entrypoint', entrypoint).ignored).toEqual([]);
    },
  );

  it('parseManagedProxyConfiguration reports nothing for the default ports', () => {
    const ports = { proxyServer: 8090, agentServer: 8091, healthServer: 8092, adminServer: 8095 };
    expect(parseWith('deploy.ports', ports).ignored).toEqual([]);
  });
});
