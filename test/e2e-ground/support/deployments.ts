import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { installNamespace } from './names.ts';

export interface Deployment {
  readonly metadata: {
    readonly generation: number;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
      readonly spec: {
        readonly nodeSelector?: Readonly<Record<string, string>>;
        readonly tolerations?: readonly object[];
        readonly containers: readonly {
          readonly name: string;
          readonly image: string;
          readonly args: readonly string[];
        }[];
      };
    };
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly readyReplicas?: number;
    readonly updatedReplicas?: number;
  };
}

export const agentDeploymentName = 'cluster-proxy-proxy-agent';

export function agentDeployment(
  cluster: GroundCluster,
  namespace = installNamespace,
): Promise<Deployment> {
  return cluster.get<Deployment>('-n', namespace, 'deployment', agentDeploymentName);
}

/** The command line of the agent, of pods to come. */
export async function agentArguments(cluster: GroundCluster): Promise<readonly string[]> {
  return (await agentDeployment(cluster)).spec.template.spec.containers[0]?.args ?? [];
}

/** Whether all pods are of the newest template, ready, and no others are left. */
export function isRolledOut({ metadata, spec, status }: Deployment): boolean {
  const { observedGeneration = 0, replicas, readyReplicas, updatedReplicas } = status ?? {};
  if (observedGeneration < metadata.generation) return false;
  return [replicas, readyReplicas, updatedReplicas].every((count) => count === spec.replicas);
}
