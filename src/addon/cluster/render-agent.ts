import type { KubeObject } from '../../kube/kube-object.ts';
import { findCondition, isTrue } from '../api/condition.ts';
import { Findings } from '../api/diagnostics.ts';
import type { AgentInput } from './agent-input.ts';
import { agentObjects } from './agent-objects.ts';
import { agentValues } from './agent-values.ts';
import { manifestWorks } from './manifest-works.ts';

/** What is to be in the cluster's namespace on the hub. */
export type RenderedAgent =
  | {
      readonly t: 'rendered';
      readonly works: readonly KubeObject[];
      /** What was accepted and has no effect; for the addon's status. */
      readonly notices: readonly string[];
    }
  /** It is too early, or too late: leave everything as it is. `message` is for the log. */
  | { readonly t: 'waiting'; readonly message: string }
  /** Leave everything as it is, and say this in the addon's status. */
  | { readonly t: 'failed'; readonly message: string };

/**
 * The ManifestWorks that make one cluster's agent what it should be. The same input gives the same bytes.
 */
export function renderAgent(input: AgentInput): RenderedAgent {
  const waiting = waitsFor(input);
  if (waiting !== undefined) return { t: 'waiting', message: waiting };
  const findings = new Findings();
  const values = agentValues(input, findings);
  if (values === undefined) return { t: 'failed', message: findings.problems.join('; ') };
  const works = manifestWorks(input.addon, agentObjects(values), input.caBundle);
  return { t: 'rendered', works, notices: findings.notices };
}

function waitsFor({ cluster, addon }: AgentInput): string | undefined {
  if (addon.isDeleting) return 'the addon is being removed';
  if (cluster.isDeleting) return 'the cluster is being removed';
  if (findCondition(addon.conditions, 'RegistrationApplied') === undefined) {
    return 'the addon has no condition RegistrationApplied yet';
  }
  // OCM's addon manager says when it is this cluster's turn in a rollout.
  if (!isTrue(addon.conditions, 'Configured')) {
    return "the condition Configured is not True, OCM's addon manager has not configured the addon";
  }
  return undefined;
}
