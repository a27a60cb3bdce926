/** Names in the managed cluster. People and configurations refer to them. */
export const agentDeploymentName = 'cluster-proxy-proxy-agent';
export const agentContainerName = 'proxy-agent';
export const agentServiceAccount = 'cluster-proxy';
export const agentCaSecret = 'cluster-proxy-ca';
/** /healthz, /readyz and /metrics of the agent. */
export const agentStatusPort = 8888;
