import type { FieldProblem } from '../api/field-problem.ts';
import { hubSecrets } from '../api/names.ts';
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
  const requireName = (field: string, name: string | undefined) => {
    const sentence = `is missing, type ${type} needs the name that agents connect to`;
    if (!name && !isReported(field)) report(field, sentence);
  };
  if (type === 'Hostname') requireName(`${entrypointPath}.hostname.value`, hostname.value);
  if (type === 'Ingress') requireName(`${entrypointPath}.ingress.host`, ingress.host);
  const { name } = loadBalancerService;
  if (type === 'LoadBalancerService' && name === inClusterServiceName) {
    const sentence = `is ${name}, which is the name of the Service inside the cluster`;
    report(`${entrypointPath}.loadBalancerService.name`, sentence);
  }
  if (redis === undefined) return;
  const url = 'proxyServer.redis.url';
  const hasUrl = redis.url !== undefined || isReported(url);
  const hasSecret = redis.secretRef !== undefined;
  const twice = 'names the URL of Redis a second time, keep either it or url';
  if (hasUrl && hasSecret) report('proxyServer.redis.secretRef', twice);
  if (!hasUrl && !hasSecret) report(url, 'is missing, give it or secretRef');
}

/** Fields that are accepted and have no effect. Each sentence says what applies instead. */
export function ignoredFields(spec: ConfigurationSpec): readonly FieldProblem[] {
  const { authentication, deploy, proxyServer, userServer } = spec;
  const { entrypoint } = proxyServer;
  const { hostname, ingress, loadBalancerService, edge, port, type } = entrypoint;
  const ignored: FieldProblem[] = [];
  const ignoreIf = (isGiven: boolean, field: string, sentence: string) => {
    if (isGiven) ignored.push({ field: `spec.${field}`, sentence });
  };
  const fixedPorts = Object.entries(deploySchema.properties.ports.properties);
  for (const [name, { default: fixed }] of fixedPorts) {
    const given = deploy.ports[name as keyof typeof deploy.ports];
    ignoreIf(given !== fixed, `deploy.ports.${name}`, `is ${given}: the port is ${fixed}`);
  }
  const { name, annotations } = loadBalancerService;
  const isBalancerGiven =
    name !== entrypointSchema.loadBalancerService.properties.name.default ||
    Object.keys(annotations).length > 0;
  const fieldsOfTypes = [
    ['Hostname', 'hostname', hostname.value !== ''],
    ['Ingress', 'ingress', ingress.host !== undefined],
    ['LoadBalancerService', 'loadBalancerService', isBalancerGiven],
  ] as const;
  for (const [needed, field, isGiven] of fieldsOfTypes) {
    const sentence = `is for type ${needed}, the type is ${type}`;
    ignoreIf(isGiven && type !== needed, `${entrypointPath}.${field}`, sentence);
  }
  const otherPorts: Partial<Record<typeof type, string>> = {
    Ingress: `spec.${entrypointPath}.ingress.port`,
    PortForward: 'the kube-apiserver of the hub',
  };
  const isPortIgnored = type in otherPorts && port !== entrypointSchema.port.default;
  const instead = `is ${port}: with type ${type} agents connect to ${otherPorts[type]}`;
  ignoreIf(isPortIgnored, `${entrypointPath}.port`, instead);
  const noEdge = 'is not used yet: agents connect to the brokers of the hub';
  const signer = authentication.signer.type;
  const hasSans = (userServer?.additionalSANs ?? []).length > 0;
  const noSans = `is for the signer SelfSigned, the type of the signer is ${signer}`;
  ignoreIf(hasSans && signer !== 'SelfSigned', 'userServer.additionalSANs', noSans);
  ignoreIf(edge.brokerUrl !== undefined, `${entrypointPath}.edge.brokerUrl`, noEdge);
  return ignored;
}
