import type { FieldProblem } from '../api/field-problem.ts';
import {
  defaultBalancerName,
  fixedPorts,
  type EntrypointSpec,
  type ManagedProxyConfigurationSpec,
} from './configuration-spec.ts';
import type { FieldReader } from './field-reader.ts';

/** Secrets of the hub's namespace that nothing else may be called. */
const takenSecrets = ['proxy-server-ca', 'agent-ca', 'cluster-proxy-replica-key'];

/** Problems between fields that are right by themselves. `reader` is that of `spec`. */
export function checkConfiguration(
  { authentication, proxyServer }: ManagedProxyConfigurationSpec,
  reader: FieldReader,
): void {
  const secrets = reader.child('authentication').child('dump').child('secrets');
  const taken = new Set(takenSecrets);
  for (const [field, name] of Object.entries(authentication.dump.secrets)) {
    if (taken.has(name)) secrets.problem(field, `is ${name}, which is the name of another Secret`);
    taken.add(name);
  }
  checkEntrypoint(proxyServer, reader.child('proxyServer').child('entrypoint'));
}

function checkEntrypoint(
  { entrypoint, inClusterServiceName }: ManagedProxyConfigurationSpec['proxyServer'],
  reader: FieldReader,
): void {
  // A value that is there and wrong has been reported.
  const hostname = reader.child('hostname');
  if (entrypoint.type === 'Hostname' && !entrypoint.hostname.value && !hostname.has('value')) {
    hostname.problem('value', 'is missing, type Hostname needs the name that agents connect to');
  }
  const ingress = reader.child('ingress');
  if (entrypoint.type === 'Ingress' && !entrypoint.ingress.host && !ingress.has('host')) {
    ingress.problem('host', 'is missing, type Ingress needs the name that agents connect to');
  }
  const { name } = entrypoint.loadBalancerService;
  if (entrypoint.type === 'LoadBalancerService' && name === inClusterServiceName) {
    reader
      .child('loadBalancerService')
      .problem('name', `is ${name}, which is the name of the Service inside the cluster`);
  }
}

/** Fields that are accepted and mean nothing to us, each with what holds instead. */
export function ignoredFields(spec: ManagedProxyConfigurationSpec): readonly FieldProblem[] {
  const { authentication, deploy, proxyAgent, proxyServer, userServer } = spec;
  const ignored: FieldProblem[] = [];
  const ignore = (field: string, sentence: string) => ignored.push({ field, sentence });
  const { type } = authentication.signer;
  if (type !== 'SelfSigned') {
    ignore('spec.authentication.signer.type', `is ${type}: certificates are self-signed`);
  }
  for (const [name, port] of Object.entries(deploy.ports)) {
    const fixed = fixedPorts[name as keyof typeof fixedPorts];
    if (port !== fixed) ignore(`spec.deploy.ports.${name}`, `is ${port}: the port is ${fixed}`);
  }
  ignoreEntrypoint(proxyServer.entrypoint, ignore);
  if (proxyAgent.additionalServiceProxyArgs.length > 0) {
    ignore('spec.proxyAgent.additionalServiceProxyArgs', 'is for a container that there is not');
  }
  if (proxyAgent.additionalServiceCAConfigMap !== undefined) {
    ignore('spec.proxyAgent.additionalServiceCAConfigMap', 'is for a container that there is not');
  }
  if (userServer !== undefined) {
    ignore(
      'spec.userServer',
      'is for the user-server, which there is not yet: no certificate is issued',
    );
  }
  return ignored;
}

function ignoreEntrypoint(
  { type, port, hostname, ingress, loadBalancerService, edge }: EntrypointSpec,
  ignore: (field: string, sentence: string) => void,
): void {
  const path = 'spec.proxyServer.entrypoint';
  if (type !== 'Hostname' && hostname.value !== undefined) {
    ignore(`${path}.hostname`, `is for type Hostname, the type is ${type}`);
  }
  if (type !== 'Ingress' && ingress.host !== undefined) {
    ignore(`${path}.ingress`, `is for type Ingress, the type is ${type}`);
  }
  const { name, annotations } = loadBalancerService;
  const isNamed = name !== defaultBalancerName || Object.keys(annotations).length > 0;
  if (type !== 'LoadBalancerService' && isNamed) {
    ignore(`${path}.loadBalancerService`, `is for type LoadBalancerService, the type is ${type}`);
  }
  if (port !== fixedPorts.agentServer && (type === 'PortForward' || type === 'Ingress')) {
    const instead =
      type === 'Ingress'
        ? `agents connect to ${path}.ingress.port`
        : 'agents connect to the kube-apiserver of the hub';
    ignore(`${path}.port`, `is ${port}: with type ${type} ${instead}`);
  }
  if (edge.brokerUrl !== undefined) {
    ignore(`${path}.edge.brokerUrl`, 'is not used yet: agents connect to the brokers of the hub');
  }
}
