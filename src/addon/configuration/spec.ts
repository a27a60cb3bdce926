import type { FieldProblem } from '../api/field-problem.ts';
import { type Rules, SchemaReader } from './schema.ts';
import { type ConfigurationSpec, specSchema } from './spec-schema.generated.ts';
import * as checks from './text-checks.ts';

export type EntrypointSpec = ConfigurationSpec['proxyServer']['entrypoint'];
export type RedisSpec = NonNullable<ConfigurationSpec['proxyServer']['redis']>;
/** A key in a Secret of the brokers' namespace. */
export type SecretKey = NonNullable<ConfigurationSpec['proxyServer']['enrolmentKeysSecretRef']>;

const port = { minimum: 1, maximum: 65_535 };
const replicas = { minimum: 0, maximum: 1000 };
const objectName = { check: checks.objectNameCheck };
const serviceName = { check: checks.serviceNameCheck };
const annotations = { check: checks.annotationKeyCheck };
const quantities = { check: checks.quantityCheck };
const secretKey = { name: objectName, key: { check: checks.secretKeyCheck } };

/**
 * Rules that the CRD does not state, because the API server would then refuse objects that it
 * accepted before. The addon reports a wrong field in the condition Valid instead.
 */
const rules: Rules<ConfigurationSpec> = {
  authentication: {
    signer: { selfSigned: { additionalSANs: { check: checks.sanCheck } } },
    dump: {
      secrets: {
        signingProxyServerSecretName: objectName,
        signingProxyClientSecretName: objectName,
        signingAgentServerSecretName: objectName,
      },
    },
  },
  proxyServer: {
    replicas,
    inClusterServiceName: serviceName,
    namespace: { check: checks.dnsLabelCheck },
    entrypoint: {
      type: { default: 'PortForward' },
      port,
      hostname: { value: { check: checks.hostCheck, default: '' } },
      loadBalancerService: { name: serviceName, annotations },
      ingress: {
        host: { check: checks.hostNameCheck },
        className: objectName,
        tlsSecretName: objectName,
        annotations,
      },
      edge: { brokerUrl: { check: checks.brokerUrlCheck } },
    },
    redis: { url: { check: checks.redisUrlCheck }, secretRef: secretKey, caSecretRef: secretKey },
    enrolmentKeysSecretRef: secretKey,
    policyConfigMapRef: secretKey,
    resources: { requests: quantities, limits: quantities },
  },
  proxyAgent: {
    replicas,
    imagePullSecrets: objectName,
    additionalServiceCAConfigMap: objectName,
    allow: { check: checks.allowCheck },
  },
  userServer: { additionalSANs: { check: checks.sanCheck } },
  deploy: {
    ports: { proxyServer: port, agentServer: port, healthServer: port, adminServer: port },
  },
};

/**
 * Reads `spec` of a ManagedProxyConfiguration. Fields that are wrong get their defaults and are
 * added to `problems`.
 */
export function readSpec(value: unknown, problems: FieldProblem[]): ConfigurationSpec {
  return new SchemaReader(problems).read(specSchema, rules, value, 'spec') as ConfigurationSpec;
}
