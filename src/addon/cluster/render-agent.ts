import { findCondition, isTrue } from '../api/condition.ts';
import { Diagnostics } from '../api/diagnostics.ts';
import { agentObjects } from './agent-objects.ts';
import { type AgentInput, agentValues } from './agent-values.ts';
import { manifestWorks } from './manifest-works.ts';

/** Renders the ManifestWorks with one cluster's agent. The same input gives the same bytes. */
export function renderAgent(input: AgentInput) {
  const waiting = waitsFor(input);
  // Objects that exist stay. The message is for the log.
  if (waiting !== undefined) return { kind: 'waiting', message: waiting } as const;
  const diagnostics = new Diagnostics();
  const values = agentValues(input, diagnostics);
  if (values === undefined) {
    // Objects that exist stay. The message is for the addon's status.
    return { kind: 'failed', message: diagnostics.problems.join('; ') } as const;
  }
  const works = manifestWorks(input.addon, agentObjects(values), input.caBundle);
  return { kind: 'rendered', works, notices: diagnostics.notices } as const;
}

function waitsFor({ cluster, addon }: AgentInput): string | undefined {
  if (addon.isDeleting) return 'the addon is being removed';
  if (cluster.isDeleting) return 'the cluster is being removed';
  if (findCondition(addon.conditions, 'RegistrationApplied') === undefined) {
    return 'the addon has no condition RegistrationApplied yet';
  }
  // OCM's addon manager sets Configured when a rollout reaches this cluster.
  if (!isTrue(addon.conditions, 'Configured')) {
    return "the condition Configured is not True, OCM's addon manager has not configured the addon";
  }
  return undefined;
}
