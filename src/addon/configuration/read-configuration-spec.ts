import {
  defaultBalancerName,
  type EntrypointSpec,
  entrypointTypes,
  fixedPorts,
  type ManagedProxyConfigurationSpec,
  type RedisSpec,
  type ResourceRequirements,
  type SecretKey,
  signerTypes,
  type Toleration,
} from './configuration-spec.ts';
import * as checks from './field-checks.ts';
import type { FieldReader } from './field-reader.ts';

const maxPort = 65_535;
const maxReplicas = 1000;

/** Reads `spec`, with the default in every place that nobody filled; what is wrong goes where `reader` puts problems. */
export function readConfigurationSpec(reader: FieldReader): ManagedProxyConfigurationSpec {
  const userServer = reader.child('userServer');
  return {
    authentication: readAuthentication(reader.child('authentication')),
    proxyServer: readProxyServer(reader.child('proxyServer')),
    proxyAgent: readProxyAgent(reader.child('proxyAgent')),
    deploy: readDeploy(reader.child('deploy')),
    userServer: reader.has('userServer')
      ? { additionalSANs: userServer.texts('additionalSANs') }
      : undefined,
  };
}

type Spec = ManagedProxyConfigurationSpec;

function readAuthentication(reader: FieldReader): Spec['authentication'] {
  const signer = reader.child('signer');
  const secrets = reader.child('dump').child('secrets');
  const name = checks.objectNameCheck;
  return {
    signer: {
      type: signer.choice('type', signerTypes, 'SelfSigned'),
      selfSigned: {
        additionalSANs: signer.child('selfSigned').texts('additionalSANs', checks.sanCheck),
      },
    },
    dump: {
      secrets: {
        signingProxyServerSecretName: secrets.text(
          'signingProxyServerSecretName',
          'proxy-server',
          name,
        ),
        signingProxyClientSecretName: secrets.text(
          'signingProxyClientSecretName',
          'proxy-client',
          name,
        ),
        signingAgentServerSecretName: secrets.text(
          'signingAgentServerSecretName',
          'agent-server',
          name,
        ),
      },
    },
  };
}

function readProxyServer(reader: FieldReader): Spec['proxyServer'] {
  const placement = reader.child('nodePlacement');
  return {
    image: reader.requiredText('image'),
    replicas: reader.integer('replicas', 3, 0, maxReplicas),
    inClusterServiceName: reader.text(
      'inClusterServiceName',
      'proxy-entrypoint',
      checks.serviceNameCheck,
    ),
    namespace: reader.text(
      'namespace',
      'open-cluster-management-cluster-proxy',
      checks.dnsLabelCheck,
    ),
    entrypoint: readEntrypoint(reader.child('entrypoint')),
    additionalArgs: reader.texts('additionalArgs'),
    nodePlacement: {
      nodeSelector: placement.textMap('nodeSelector'),
      tolerations: placement.objects('tolerations').map(readToleration),
    },
    redis: reader.has('redis') ? readRedis(reader.child('redis')) : undefined,
    resources: reader.has('resources') ? readResources(reader.child('resources')) : undefined,
    enrolmentKeysSecretRef: readSecretKey(reader, 'enrolmentKeysSecretRef', 'public-keys.pem'),
  };
}

function readEntrypoint(reader: FieldReader): EntrypointSpec {
  const loadBalancer = reader.child('loadBalancerService');
  const ingress = reader.child('ingress');
  return {
    type: reader.choice('type', entrypointTypes, 'PortForward'),
    loadBalancerService: {
      name: loadBalancer.text('name', defaultBalancerName, checks.serviceNameCheck),
      annotations: readAnnotations(loadBalancer),
    },
    hostname: { value: reader.child('hostname').optionalText('value', checks.hostCheck) },
    ingress: {
      host: ingress.optionalText('host', checks.hostNameCheck),
      className: ingress.optionalText('className', checks.objectNameCheck),
      annotations: readAnnotations(ingress),
      tlsSecretName: ingress.optionalText('tlsSecretName', checks.objectNameCheck),
      port: ingress.integer('port', 443, 1, maxPort),
    },
    edge: { brokerUrl: reader.child('edge').optionalText('brokerUrl', checks.brokerUrlCheck) },
    port: reader.integer('port', fixedPorts.agentServer, 1, maxPort),
  };
}

/** A list of {key, value}, in which a later value of the same key wins. */
function readAnnotations(reader: FieldReader): Readonly<Record<string, string>> {
  const annotations: Record<string, string> = {};
  for (const item of reader.objects('annotations')) {
    const key = item.optionalText('key', checks.annotationKeyCheck);
    const value = item.text('value', '');
    if (key !== undefined) annotations[key] = value;
    else if (!item.has('key')) item.problem('key', 'is missing');
  }
  return annotations;
}

function readToleration(reader: FieldReader): Toleration {
  const toleration: Record<string, string | number> = {};
  for (const name of ['key', 'operator', 'value', 'effect'] as const) {
    const text = reader.optionalText(name);
    if (text !== undefined) toleration[name] = text;
  }
  if (reader.has('tolerationSeconds')) {
    const { MIN_SAFE_INTEGER: min, MAX_SAFE_INTEGER: max } = Number;
    toleration['tolerationSeconds'] = reader.integer('tolerationSeconds', 0, min, max);
  }
  return toleration;
}

function readRedis(reader: FieldReader): RedisSpec {
  const url = reader.optionalText('url', checks.redisUrlCheck);
  const secretRef = readSecretKey(reader, 'secretRef', 'url');
  if (reader.has('url') && secretRef !== undefined) {
    reader.problem('secretRef', 'names the URL of Redis a second time, keep either it or url');
  } else if (!reader.has('url') && secretRef === undefined) {
    reader.problem('url', 'is missing, give it or secretRef');
  }
  return {
    url,
    secretRef,
    caSecretRef: readSecretKey(reader, 'caSecretRef', 'ca.crt'),
    prefix: reader.text('prefix', 'culvert:'),
  };
}

function readSecretKey(
  parent: FieldReader,
  field: string,
  defaultKey: string,
): SecretKey | undefined {
  if (!parent.has(field)) return undefined;
  const reader = parent.child(field);
  const name = reader.requiredText('name', checks.objectNameCheck);
  return { name, key: reader.text('key', defaultKey, checks.secretKeyCheck) };
}

function readResources(reader: FieldReader): ResourceRequirements {
  const check = checks.quantityCheck;
  return {
    requests: reader.textMap('requests', { numbers: true, check }),
    limits: reader.textMap('limits', { numbers: true, check }),
  };
}

function readProxyAgent(reader: FieldReader): Spec['proxyAgent'] {
  return {
    image: reader.requiredText('image'),
    replicas: reader.integer('replicas', 3, 0, maxReplicas),
    additionalArgs: reader.texts('additionalArgs'),
    additionalServiceProxyArgs: reader.texts('additionalServiceProxyArgs'),
    imagePullSecrets: reader.texts('imagePullSecrets', checks.objectNameCheck),
    additionalServiceCAConfigMap: reader.optionalText(
      'additionalServiceCAConfigMap',
      checks.objectNameCheck,
    ),
    allow: reader.texts('allow', checks.allowCheck),
  };
}

function readDeploy(reader: FieldReader): Spec['deploy'] {
  const ports = reader.child('ports');
  const port = (name: keyof typeof fixedPorts) => ports.integer(name, fixedPorts[name], 1, maxPort);
  return {
    ports: {
      proxyServer: port('proxyServer'),
      agentServer: port('agentServer'),
      healthServer: port('healthServer'),
      adminServer: port('adminServer'),
    },
  };
}
