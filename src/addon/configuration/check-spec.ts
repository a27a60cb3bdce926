import type { FieldProblem } from '../api/field-problem.ts';
import { hubSecrets } from '../api/names.ts';
import type { EntrypointSpec } from './spec.ts';
import { type ConfigurationSpec, specSchema } from './spec-schema.generated.ts';

const { deploy: deploySchema, proxyServer: serverSchema } = specSchema.properties;
const entrypointSchema = serverSchema.properties.entrypoint.properties;
const entrypointPath = 'proxyServer.entrypoint';

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
  const isReported = (field: string) =>
    problems.some((problem) => problem.field === `spec.${field}`);
  const report = (field: string, sentence: string) =>
    problems.push({ field: `spec.${field}`, sentence });
  const taken = new Set<string>(Object.values(hubSecrets));
  for (const field of secretFields) {
    const name = authentication.dump.secrets[field];
    const sentence = `is ${name}, which is the name of another Secret`;
    if (taken.has(name)) report(`authentication.dump.secrets.${field}`, sentence);
    taken.add(name);
  }
  const { entrypoint, inClusterServiceName, redis } = proxyServer;
  const { type, hostname, ingress, loadBalancerService } = entrypoint;
  if (type === 'Hostname' || type === 'Ingress') {
    const [name, value] =
      type === 'Hostname' ? ['hostname.value', hostname.value] : ['ingress.host', ingress.host];
    const field = `${entrypointPath}.${name}`;
    const sentence = `is missing, type ${type} needs the name that agents connect to`;
    if (!value && !isReported(field)) report(field, sentence);
  }
  const { name } = loadBalancerService;
  if (type === 'LoadBalancerService' && name === inClusterServiceName) {
    const sentence = `is ${name}, which is the name of the Service inside the cluster`;
    report(`${entrypointPath}.loadBalancerService.name`, sentence);
  }
  if (redis === undefined) return;
  const url = 'proxyServer.redis.url';
  const hasUrl = redis.url !== undefined || isReported(url);
  if (hasUrl && redis.secretRef !== undefined) {
    const sentence = 'names the URL of Redis a second time, keep either it or url';
    report('proxyServer.redis.secretRef', sentence);
  } else if (!hasUrl && redis.secretRef === undefined) {
    report(url, 'is missing, give it or secretRef');
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
  const fixedPorts = Object.entries(deploySchema.properties.ports.properties);
  for (const [name, { default: fixed }] of fixedPorts) {
    const port = deploy.ports[name as keyof typeof deploy.ports];
    if (port !== fixed) ignore(`deploy.ports.${name}`, `is ${port}: the port is ${fixed}`);
  }
  ignoreEntrypointFields(proxyServer.entrypoint, ignore);
  const noContainer = "is ignored, because culvert's agent pod has no service-proxy container";
  if (proxyAgent.additionalServiceProxyArgs.length > 0) {
    ignore('proxyAgent.additionalServiceProxyArgs', noContainer);
  }
  if (proxyAgent.additionalServiceCAConfigMap !== undefined) {
    ignore('proxyAgent.additionalServiceCAConfigMap', noContainer);
  }
  const noServer = 'is ignored, because there is no user-server yet: no certificate is issued';
  if (userServer !== undefined) ignore('userServer', noServer);
  return ignored;
}

function ignoreEntrypointFields(
  { type, port, hostname, ingress, loadBalancerService, edge }: EntrypointSpec,
  ignore: (field: string, sentence: string) => void,
): void {
  const { name, annotations } = loadBalancerService;
  const defaultName = entrypointSchema.loadBalancerService.properties.name.default;
  const given = [
    ['hostname', 'Hostname', hostname.value !== ''],
    ['ingress', 'Ingress', ingress.host !== undefined],
    [
      'loadBalancerService',
      'LoadBalancerService',
      name !== defaultName || Object.keys(annotations).length > 0,
    ],
  ] as const;
  for (const [field, needed, isGiven] of given) {
    const sentence = `is for type ${needed}, the type is ${type}`;
    if (isGiven && type !== needed) ignore(`${entrypointPath}.${field}`, sentence);
  }
  if (port !== entrypointSchema.port.default && (type === 'PortForward' || type === 'Ingress')) {
    const instead =
      type === 'Ingress' ? `spec.${entrypointPath}.ingress.port` : 'the kube-apiserver of the hub';
    ignore(`${entrypointPath}.port`, `is ${port}: with type ${type} agents connect to ${instead}`);
  }
  if (edge.brokerUrl !== undefined) {
    const sentence = 'is not used yet: agents connect to the brokers of the hub';
    ignore(`${entrypointPath}.edge.brokerUrl`, sentence);
  }
}
