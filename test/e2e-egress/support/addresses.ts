/**
 * Addresses that exist only in the cluster's network namespace. EndpointSlices may not hold
 * loopback addresses.
 */
export const webhookAddress = { pod: '10.77.0.10', service: '10.96.7.10' };
export const apiAddress = { pod: '10.77.0.11', service: '10.96.7.11' };
export const nodeAddress = '10.77.0.20';
export const podAddress = '10.77.0.30';

export const kubeletPort = 10_250;
/** The port of the webhook and of the aggregated API. Their Services have the port 443. */
export const backendPort = 9443;
export const podPort = 8080;
export const echoPort = 7000;

/** The range of the addresses of Services. */
export const serviceRange = '10.96.0.0/16';

export const clusterAddresses = [
  ...Object.values(webhookAddress),
  ...Object.values(apiAddress),
  nodeAddress,
  podAddress,
];
