import type { AddOnDeploymentConfig } from '../api/addon-deployment-config.ts';
import type { Fields } from '../api/fields.ts';
import { agentContainerName, agentDeploymentName } from './agent-names.ts';

/**
 * There are no limits, because a busy agent needs memory for its windows, and a killed agent ends
 * every stream of its cluster.
 */
const defaultResources: Fields = { requests: { cpu: '20m', memory: '96Mi' } };

/** The requirements of the last entry whose containerID matches the agent's container. */
export function agentResources(
  requirements: AddOnDeploymentConfig['resourceRequirements'],
): Fields {
  const matching = requirements.findLast(({ containerId }) => isAgentContainer(containerId));
  return matching?.resources ?? defaultResources;
}

/** The well-known name of the Deployment counts, even when a variable renames the Deployment. */
const containerPath = ['deployments', agentDeploymentName, agentContainerName];

function isAgentContainer(containerId: string): boolean {
  const parts = containerId.split(':');
  return (
    parts.length === containerPath.length &&
    parts.every((part, index) => matchesWildcards(part, containerPath[index] ?? ''))
  );
}

function matchesWildcards(pattern: string, name: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => RegExp.escape(part))
    .join('.*');
  return new RegExp(`^${source}$`).test(name);
}
