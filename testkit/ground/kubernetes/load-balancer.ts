import { join } from 'node:path';
import type { StartedCluster } from './started-cluster.ts';
import type { Programs } from './programs.ts';
import { entrypoints } from './topology.ts';

/**
 * What a cloud does for Services of type LoadBalancer, as far as kube-proxy does not do it already: each gets the one address
 * that the hub shows for that, so their ports must differ.
 */
export async function startLoadBalancer(hub: StartedCluster, go: Programs): Promise<void> {
  const kubeconfig = join(hub.directories.kubeconfigs, 'admin');
  const kubectl = `${go.kubectl} --kubeconfig=${kubeconfig}`;
  const { address } = entrypoints.loadBalancer;
  const patch = JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: address }] } } });
  const fields =
    '{.metadata.namespace} {.metadata.name} {.status.loadBalancer.ingress[0].ip}{"\\n"}';
  // A watch ends now and then, and with the API server.
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
