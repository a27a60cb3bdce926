import { describe, expect, it } from 'vitest';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { specSchema as generatedSchema } from '../../../src/addon/configuration/spec-schema.generated.ts';
import { specSchemaOfCrd } from '../../../scripts/crd-schema.ts';
import {
  type Schema,
  definition,
  fieldsOf,
  nameOf,
  objectWith,
  specSchema,
  valueAt,
} from './custom-resource-definition.ts';

const all = [...fieldsOf(specSchema)];

/** An object with every field of the schema. */
function sampleOf(schema: Schema): unknown {
  if (schema.type === 'object') {
    const fields = Object.entries(schema.properties ?? {});
    return Object.fromEntries(fields.map(([name, child]) => [name, sampleOf(child)]));
  }
  if (schema.type === 'array') return [sampleOf(schema.items ?? {})];
  return schema.type === 'integer' ? 1 : 'name';
}

function* pathsOf(value: unknown, path: string): Generator<string> {
  yield path;
  if (Array.isArray(value))
    for (const [at, item] of value.entries()) yield* pathsOf(item, `${path}[${at}]`);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, child] of Object.entries(value)) yield* pathsOf(child, `${path}.${name}`);
  }
}

describe('the CRD and the code', () => {
  it('The generated schema module is what "npm run crd-schema" makes of the CRD', () => {
    expect(generatedSchema).toEqual(specSchemaOfCrd());
  });

  it('The CRD and the code name the resource as Cluster Proxy does', () => {
    expect(definition.metadata.name).toBe(
      'managedproxyconfigurations.proxy.open-cluster-management.io',
    );
    expect(definition.spec).toMatchObject({
      group: 'proxy.open-cluster-management.io',
      scope: 'Cluster',
    });
    expect(definition.spec.versions).toMatchObject([
      { name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } },
    ]);
  });

  it.each(all.filter(({ schema }) => schema.default !== undefined))(
    'The CRD and the code agree on the default of $path',
    ({ path, schema }) => {
      // Only an existing parent has fields, so the parent is set and the field is omitted.
      const configuration = parseManagedProxyConfiguration(objectWith(path.slice(0, -1), {}));
      expect(valueAt(configuration, path)).toEqual(schema.default);
    },
  );

  const wrong = { string: 7, integer: 'seven', object: 'text', array: 'text' } as const;
  it.each(all.filter(({ schema }) => schema.type !== undefined && schema.type in wrong))(
    'The CRD and the code agree on the type of $path',
    ({ path, schema }) => {
      const value = wrong[schema.type as keyof typeof wrong];
      const { problems } = parseManagedProxyConfiguration(objectWith(path, value));
      expect(problems.map(({ field }) => field)).toContain(nameOf(path));
    },
  );

  it.each(all.filter(({ schema }) => schema.enum !== undefined))(
    'The CRD and the code agree on the values of $path',
    ({ path, schema }) => {
      const named = (value: string) =>
        parseManagedProxyConfiguration(objectWith(path, value)).problems.map(({ field }) => field);
      for (const value of schema.enum ?? []) expect(named(value)).not.toContain(nameOf(path));
      expect(named('Other')).toContain(nameOf(path));
    },
  );

  it('The CRD and the code agree on maps of texts', () => {
    for (const { path } of all.filter(({ schema }) => schema.additionalProperties)) {
      const { problems } = parseManagedProxyConfiguration(objectWith([...path, 'key'], {}));
      expect(problems.map(({ field }) => field)).toContain(`${nameOf(path)}.key`);
    }
  });

  it('The CRD has every field that the code reads, so that the API server drops none of them', () => {
    const { spec } = parseManagedProxyConfiguration(objectWith(['spec'], sampleOf(specSchema)));
    const known = new Set(all.map(({ path }) => nameOf(path)));
    // The code reads a list of {key, value} into a map.
    const read = [...pathsOf(spec, 'spec')].filter((path) => !/annotations\./.test(path));
    expect(read.filter((path) => !known.has(path))).toEqual([]);
    expect(read).toContain('spec.proxyServer.redis.secretRef.key');
  });

  // Field names, types and defaults on which existing objects rely.
  const upstream: Readonly<Record<string, readonly [string, unknown?]>> = {
    'authentication.signer.type': ['string', 'SelfSigned'],
    'authentication.signer.selfSigned.additionalSANs': ['array'],
    'authentication.dump.secrets.signingProxyServerSecretName': ['string', 'proxy-server'],
    'authentication.dump.secrets.signingProxyClientSecretName': ['string', 'proxy-client'],
    'authentication.dump.secrets.signingAgentServerSecretName': ['string', 'agent-server'],
    'proxyServer.image': ['string'],
    'proxyServer.replicas': ['integer', 3],
    'proxyServer.inClusterServiceName': ['string', 'proxy-entrypoint'],
    'proxyServer.namespace': ['string', 'open-cluster-management-cluster-proxy'],
    'proxyServer.entrypoint.type': ['string'],
    'proxyServer.entrypoint.loadBalancerService.name': ['string', 'proxy-agent-entrypoint'],
    'proxyServer.entrypoint.loadBalancerService.annotations': ['array'],
    'proxyServer.entrypoint.hostname.value': ['string'],
    'proxyServer.entrypoint.port': ['integer', 8091],
    'proxyServer.additionalArgs': ['array'],
    'proxyServer.nodePlacement.nodeSelector': ['object'],
    'proxyServer.nodePlacement.tolerations': ['array'],
    'proxyAgent.image': ['string'],
    'proxyAgent.replicas': ['integer', 3],
    'proxyAgent.additionalArgs': ['array'],
    'proxyAgent.additionalServiceProxyArgs': ['array'],
    'proxyAgent.imagePullSecrets': ['array'],
    'proxyAgent.additionalServiceCAConfigMap': ['string'],
    'deploy.ports.proxyServer': ['integer', 8090],
    'deploy.ports.agentServer': ['integer', 8091],
    'deploy.ports.healthServer': ['integer', 8092],
    'deploy.ports.adminServer': ['integer', 8095],
    'userServer.additionalSANs': ['array'],
  };
  it.each(Object.entries(upstream))('The CRD keeps %s', (name, [type, value]) => {
    const found = all.find(({ path }) => nameOf(path) === `spec.${name}`);
    expect(found?.schema).toMatchObject({ type });
    expect(found?.schema.default).toEqual(value);
  });

  it("The CRD requires no more of Cluster Proxy's fields than Cluster Proxy does", () => {
    const isNew = /redis|ingress|edge|enrolment|policy/;
    const required = all
      .filter(({ path }) => !isNew.test(nameOf(path)))
      .flatMap(({ path, schema }) =>
        (schema.required ?? []).map((key) => `${nameOf(path)}.${key}`),
      );
    expect(required.sort()).toEqual([
      'spec.authentication',
      'spec.deploy.ports',
      'spec.proxyAgent',
      'spec.proxyAgent.image',
      'spec.proxyServer',
      'spec.proxyServer.entrypoint.hostname.value',
      'spec.proxyServer.entrypoint.loadBalancerService.annotations[0].key',
      'spec.proxyServer.entrypoint.type',
      'spec.proxyServer.image',
    ]);
  });
});
