export const hubNamespace = 'open-cluster-management-addon';
export const installNamespace = 'open-cluster-management-cluster-proxy';
export const addon = 'cluster-proxy';
export const release = 'cluster-proxy';
export const managerDeployment = 'cluster-proxy-addon-manager';
/** The Secret in a managed cluster. */
export const agentCertificate =
  'cluster-proxy-open-cluster-management.io-proxy-agent-signer-client-cert';
/** Labels of the brokers' pods, as an argument of kubectl. */
export const brokerPods = ['-l', 'proxy.open-cluster-management.io/component-name=proxy-server'];
/** Of what the tests themselves put on clusters. */
export const testNamespace = 'e2e';
