/** Names on the managed cluster that people watch and that configurations refer to. */
export const agentDeploymentName = 'cluster-proxy-proxy-agent';
export const agentContainerName = 'proxy-agent';
export const agentServiceAccount = 'cluster-proxy';
export const agentCaSecret = 'cluster-proxy-ca';
/** /healthz, /readyz and /metrics of the agent. */
export const agentStatusPort = 8888;
