/** Ports that `spec.deploy.ports` names and nothing can change. */
export const fixedPorts = {
  proxyServer: 8090,
  agentServer: 8091,
  healthServer: 8092,
  adminServer: 8095,
} as const;

/** The load balancer for agents, where `loadBalancerService.name` names none. */
export const defaultBalancerName = 'proxy-agent-entrypoint';

export const signerTypes = ['SelfSigned', 'Provided', 'CertManager'] as const;
export const entrypointTypes = [
  'Hostname',
  'LoadBalancerService',
  'PortForward',
  'Ingress',
] as const;
export type EntrypointType = (typeof entrypointTypes)[number];

/** A key in a Secret of the hub's namespace. */
export interface SecretKey {
  readonly name: string;
  readonly key: string;
}

export interface RedisSpec {
  /** Without credentials; those come with the whole URL in `secretRef`. */
  readonly url: string | undefined;
  readonly secretRef: SecretKey | undefined;
  readonly caSecretRef: SecretKey | undefined;
  readonly prefix: string;
}

export interface IngressSpec {
  readonly host: string | undefined;
  readonly className: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  readonly tlsSecretName: string | undefined;
  /** Where the ingress controller listens for agents. */
  readonly port: number;
}

export interface EntrypointSpec {
  readonly type: EntrypointType;
  readonly loadBalancerService: {
    readonly name: string;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly hostname: { readonly value: string | undefined };
  readonly ingress: IngressSpec;
  readonly edge: { readonly brokerUrl: string | undefined };
  readonly port: number;
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
}

export interface ResourceRequirements {
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
}

/** The spec as the CRD lays it out, with the default in every place that nobody filled. */
export interface ManagedProxyConfigurationSpec {
  readonly authentication: {
    readonly signer: {
      readonly type: (typeof signerTypes)[number];
      readonly selfSigned: { readonly additionalSANs: readonly string[] };
    };
    readonly dump: {
      readonly secrets: {
        readonly signingProxyServerSecretName: string;
        readonly signingProxyClientSecretName: string;
        readonly signingAgentServerSecretName: string;
      };
    };
  };
  readonly proxyServer: {
    readonly image: string;
    readonly replicas: number;
    readonly inClusterServiceName: string;
    readonly namespace: string;
    readonly entrypoint: EntrypointSpec;
    readonly additionalArgs: readonly string[];
    readonly nodePlacement: {
      readonly nodeSelector: Readonly<Record<string, string>>;
      readonly tolerations: readonly Toleration[];
    };
    readonly redis: RedisSpec | undefined;
    readonly resources: ResourceRequirements | undefined;
    /** Public keys of enrolment tokens. */
    readonly enrolmentKeysSecretRef: SecretKey | undefined;
  };
  readonly proxyAgent: {
    readonly image: string;
    readonly replicas: number;
    readonly additionalArgs: readonly string[];
    readonly additionalServiceProxyArgs: readonly string[];
    readonly imagePullSecrets: readonly string[];
    readonly additionalServiceCAConfigMap: string | undefined;
    readonly allow: readonly string[];
  };
  readonly deploy: { readonly ports: Readonly<Record<keyof typeof fixedPorts, number>> };
  /** Has no effect. */
  readonly userServer: { readonly additionalSANs: readonly string[] } | undefined;
}
