import { join } from 'node:path';
import type { StartedCluster } from './started-cluster.ts';
import type { Programs } from './programs.ts';
import { entrypoints } from './topology.ts';

/**
 * Gives each Service of type LoadBalancer its address, as a cloud does. All get the same address of
 * the hub, so their ports must differ.
 */
export async function startLoadBalancer(hub: StartedCluster, go: Programs): Promise<void> {
  const kubeconfig = join(hub.directories.kubeconfigs, 'admin');
  const kubectl = `${go.kubectl} --kubeconfig=${kubeconfig}`;
  const { address } = entrypoints.loadBalancer;
  const patch = JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: address }] } } });
  const fields =
    '{.metadata.namespace} {.metadata.name} {.status.loadBalancer.ingress[0].ip}{"\\n"}';
  // A watch ends from time to time, and when the API server ends.
  const script = `
while true; do
  ${kubectl} get services --all-namespaces --field-selector=spec.type=LoadBalancer --watch \\
    --output=jsonpath='${fields}' |
  while read -r namespace name ip; do
    test "$ip" = '${address}' ||
      ${kubectl} --namespace="$namespace" patch service "$name" --subresource=status --type=merge --patch='${patch}'
  done
  sleep 1
done`;
  await hub.start('load-balancer', 'bash', ['-c', script]);
}
