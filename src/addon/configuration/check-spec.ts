import type { FieldProblem } from '../api/field-problem.ts';
import { hubSecrets } from '../api/names.ts';
import type { ConfigurationSpec, EntrypointSpec } from './spec.ts';
import { specSchema } from './spec-schema.generated.ts';

const { deploy: deploySchema, proxyServer: serverSchema } = specSchema.properties;
const entrypointSchema = serverSchema.properties.entrypoint.properties;
const entrypointPath = 'spec.proxyServer.entrypoint';

const secretFields = [
  'signingProxyServerSecretName',
  'signingProxyClientSecretName',
  'signingAgentServerSecretName',
] as const;

/**
 * Adds problems between fields that are right by themselves to `problems`, which has those of
 * single fields.
 */
export function checkSpec(
  { authentication, proxyServer }: ConfigurationSpec,
  problems: FieldProblem[],
): void {
  const isReported = (field: string) => problems.some((problem) => problem.field === field);
  const taken = new Set<string>(Object.values(hubSecrets));
  for (const field of secretFields) {
    const name = authentication.dump.secrets[field];
    if (taken.has(name)) {
      problems.push({
        field: `spec.authentication.dump.secrets.${field}`,
        sentence: `is ${name}, which is the name of another Secret`,
      });
    }
    taken.add(name);
  }
  const { entrypoint, inClusterServiceName, redis } = proxyServer;
  const { type, hostname, ingress, loadBalancerService } = entrypoint;
  const needed = {
    Hostname: ['hostname.value', hostname.value],
    Ingress: ['ingress.host', ingress.host],
  };
  if (type === 'Hostname' || type === 'Ingress') {
    const [name, value] = needed[type];
    const field = `${entrypointPath}.${name}`;
    if (!value && !isReported(field)) {
      const sentence = `is missing, type ${type} needs the name that agents connect to`;
      problems.push({ field, sentence });
    }
  }
  const { name } = loadBalancerService;
  if (type === 'LoadBalancerService' && name === inClusterServiceName) {
    problems.push({
      field: `${entrypointPath}.loadBalancerService.name`,
      sentence: `is ${name}, which is the name of the Service inside the cluster`,
    });
  }
  if (redis === undefined) return;
  const path = 'spec.proxyServer.redis';
  const hasUrl = redis.url !== undefined || isReported(`${path}.url`);
  if (hasUrl && redis.secretRef !== undefined) {
    const sentence = 'names the URL of Redis a second time, keep either it or url';
    problems.push({ field: `${path}.secretRef`, sentence });
  } else if (!hasUrl && redis.secretRef === undefined) {
    problems.push({ field: `${path}.url`, sentence: 'is missing, give it or secretRef' });
  }
}

/** Fields that are accepted and have no effect. Each sentence says what applies instead. */
export function ignoredFields(spec: ConfigurationSpec): readonly FieldProblem[] {
  const { authentication, deploy, proxyAgent, proxyServer, userServer } = spec;
  const ignored: FieldProblem[] = [];
  const ignore = (field: string, sentence: string) =>
    ignored.push({ field: `spec.${field}`, sentence });
  const { type } = authentication.signer;
  if (type !== 'SelfSigned') {
    ignore('authentication.signer.type', `is ${type}: certificates are self-signed`);
  }
  for (const [name, { default: fixed }] of Object.entries(
    deploySchema.properties.ports.properties,
  )) {
    const port = deploy.ports[name as keyof typeof deploy.ports];
    if (port !== fixed) ignore(`deploy.ports.${name}`, `is ${port}: the port is ${fixed}`);
  }
  ignored.push(...ignoredEntrypointFields(proxyServer.entrypoint));
  const noContainer = "is ignored, because culvert's agent pod has no service-proxy container";
  if (proxyAgent.additionalServiceProxyArgs.length > 0) {
    ignore('proxyAgent.additionalServiceProxyArgs', noContainer);
  }
  if (proxyAgent.additionalServiceCAConfigMap !== undefined) {
    ignore('proxyAgent.additionalServiceCAConfigMap', noContainer);
  }
  if (userServer !== undefined) {
    ignore(
      'userServer',
      'is ignored, because there is no user-server yet: no certificate is issued',
    );
  }
  return ignored;
}

function ignoredEntrypointFields(entrypoint: EntrypointSpec): readonly FieldProblem[] {
  const { type, port, hostname, ingress, loadBalancerService, edge } = entrypoint;
  const { name, annotations } = loadBalancerService;
  const defaultName = entrypointSchema.loadBalancerService.properties.name.default;
  const isNamed = name !== defaultName || Object.keys(annotations).length > 0;
  const given = {
    hostname: ['Hostname', hostname.value !== ''],
    ingress: ['Ingress', ingress.host !== undefined],
    loadBalancerService: ['LoadBalancerService', isNamed],
  } as const;
  const ignored = Object.entries(given).flatMap(([field, [needed, isGiven]]) =>
    isGiven && type !== needed
      ? [
          {
            field: `${entrypointPath}.${field}`,
            sentence: `is for type ${needed}, the type is ${type}`,
          },
        ]
      : [],
  );
  const hasOwnPort = type === 'PortForward' || type === 'Ingress';
  if (port !== entrypointSchema.port.default && hasOwnPort) {
    const instead =
      type === 'Ingress'
        ? `agents connect to ${entrypointPath}.ingress.port`
        : 'agents connect to the kube-apiserver of the hub';
    const sentence = `is ${port}: with type ${type} ${instead}`;
    ignored.push({ field: `${entrypointPath}.port`, sentence });
  }
  if (edge.brokerUrl !== undefined) {
    const sentence = 'is not used yet: agents connect to the brokers of the hub';
    ignored.push({ field: `${entrypointPath}.edge.brokerUrl`, sentence });
  }
  return ignored;
}
