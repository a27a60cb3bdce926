import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { serverLabel } from '../api/names.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import { brokerPorts } from './broker-args.ts';
import { agentPortName } from './entrypoint.ts';

/**
 * The Service inside the hub: 8090 for konnectivity clients, 8091 for agents from an ingress or
 * through the kube-apiserver.
 */
export function entrypointService(configuration: ManagedProxyConfiguration): KubeObject {
  const { proxyServer } = configuration.spec;
  return service('ClusterIP', hubMeta(configuration, proxyServer.inClusterServiceName), [
    port('proxy-server', brokerPorts.client),
    port(agentPortName, brokerPorts.agent),
  ]);
}

/**
 * The load balancer for agents. Cluster Proxy also exposes 8090 there, which lets managed clusters
 * reach the port for clients of the hub.
 */
export function loadBalancerService(configuration: ManagedProxyConfiguration): KubeObject {
  const { loadBalancerService: balancer, port: agentsPort } =
    configuration.spec.proxyServer.entrypoint;
  const { name, annotations } = balancer;
  return service('LoadBalancer', hubMeta(configuration, name, { annotations }), [
    port(agentPortName, agentsPort, brokerPorts.agent),
  ]);
}

const service = (type: string, metadata: ObjectMeta, ports: readonly object[]): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata,
  spec: { type, selector: serverLabel, ports },
});

const port = (name: string, number: number, targetPort = number) => ({
  name,
  port: number,
  targetPort,
  protocol: 'TCP',
});

/**
 * For ingress-nginx: the broker speaks TLS, and tunnels live for days. Other controllers ignore
 * these annotations.
 */
const ingressAnnotations = {
  'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
  'nginx.ingress.kubernetes.io/proxy-read-timeout': '3600',
  'nginx.ingress.kubernetes.io/proxy-send-timeout': '3600',
} as const;

const ingressName = 'cluster-proxy';

/** The Ingress for agents. It leads to the agents' endpoint and to no other path of the broker. */
export function agentIngress(configuration: ManagedProxyConfiguration): KubeObject {
  const { entrypoint, inClusterServiceName } = configuration.spec.proxyServer;
  const { host = '', className, annotations, tlsSecretName } = entrypoint.ingress;
  const backend = {
    service: { name: inClusterServiceName, port: { name: agentPortName } },
  };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: hubMeta(configuration, ingressName, {
      annotations: { ...ingressAnnotations, ...annotations },
    }),
    spec: {
      ...(className !== undefined && { ingressClassName: className }),
      // Without a Secret, the controller shows its own certificate.
      tls: [{ hosts: [host], ...(tlsSecretName !== undefined && { secretName: tlsSecretName }) }],
      rules: [{ host, http: { paths: [{ path: '/v1/agent', pathType: 'Exact', backend }] } }],
    },
  };
}
