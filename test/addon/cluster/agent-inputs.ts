import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { renderAgent } from '../../../src/addon/cluster/render-agent.ts';
import { parseAddOnDeploymentConfig } from '../../../src/addon/api/addon-deployment-config.ts';
import {
  addOn,
  condition,
  deploymentConfigReference,
  managedCluster,
  proxyConfigurationReference,
} from '../api/ocm-objects.ts';
import type { AgentInput } from '../../../src/addon/cluster/agent-values.ts';

export const installNamespace = 'open-cluster-management-cluster-proxy';

export const readyConditions = [
  condition('RegistrationApplied', 'True'),
  condition('Configured', 'True'),
];

export function agentInput(parts: Partial<AgentInput> = {}): AgentInput {
  return {
    cluster: managedCluster(),
    addon: addOn({
      status: {
        conditions: readyConditions,
        configReferences: [deploymentConfigReference, proxyConfigurationReference],
      },
    }),
    deploymentConfig: { kind: 'none' },
    proxy: {
      generation: 3,
      image: 'quay.io/open-cluster-management/cluster-proxy:v1',
      replicas: 2,
      allow: [],
      flags: [],
      imagePullSecrets: [],
      serviceCaConfigMap: undefined,
      serviceProxy: { enableImpersonation: undefined, oidc: {} },
    },
    entrypoint: { host: 'proxy.example.com', port: 443 },
    caBundle: '-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n',
    agentInstallNamespace: installNamespace,
    enableKubeApiProxy: true,
    enableServiceProxy: false,
    enableImpersonation: true,
    enableNetworkPolicies: false,
    apiServerPorts: [],
    ...parts,
  };
}

/** The input of a cluster whose AddOnDeploymentConfig has `spec`. */
export function configuredInput(spec: object, parts: Partial<AgentInput> = {}): AgentInput {
  const config = parseAddOnDeploymentConfig({
    apiVersion: 'addon.open-cluster-management.io/v1alpha1',
    kind: 'AddOnDeploymentConfig',
    metadata: { name: 'deploy', namespace: 'config' },
    spec,
  });
  return agentInput({ deploymentConfig: { kind: 'found', config }, ...parts });
}

export function variables(values: Readonly<Record<string, string>>) {
  const customizedVariables = Object.entries(values).map(([name, value]) => ({ name, value }));
  return { customizedVariables };
}

/** @throws Error with the problems if the agent cannot be rendered */
export function rendered(input: AgentInput) {
  const result = renderAgent(input);
  if (result.kind !== 'rendered') throw new Error(`${result.kind}: ${result.message}`);
  return result;
}

export function problemsOf(input: AgentInput): string {
  const result = renderAgent(input);
  if (result.kind !== 'failed') throw new Error(`${result.kind}, although something is wrong`);
  return result.message;
}

/** The objects in the ManifestWorks. */
export function manifestsOf(works: readonly KubeObject[]): readonly KubeObject[] {
  return works.flatMap((work) => {
    const { workload } = work['spec'] as { workload: { manifests: readonly KubeObject[] } };
    return workload.manifests;
  });
}

export function manifest(input: AgentInput, kind: string): KubeObject {
  const found = manifestsOf(rendered(input).works).filter((object) => object.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} manifests of kind ${kind}`);
  return found[0]!;
}

interface PodTemplate {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly nodeSelector?: object;
    readonly tolerations?: object;
    readonly imagePullSecrets?: object;
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly {
      readonly name: string;
      readonly image: string;
      readonly args: readonly string[];
      readonly resources: object;
      readonly env: readonly { readonly name: string; readonly value?: string }[];
    }[];
  };
}

export function deployment(input: AgentInput) {
  const object = manifest(input, 'Deployment');
  const { replicas, template } = object['spec'] as { replicas: number; template: PodTemplate };
  const container = template.spec.containers[0]!;
  return { object, replicas, template, pod: template.spec, container };
}

/** The CA certificates for the agent. */
export function trusted(input: AgentInput): string {
  const { data } = manifest(input, 'Secret') as unknown as { data: { 'ca.crt': string } };
  return Buffer.from(data['ca.crt'], 'base64').toString();
}
