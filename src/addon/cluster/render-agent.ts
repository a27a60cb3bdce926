import type { KubeObject } from '../../kube/client/kube-object.ts';
import { findCondition, isTrue } from '../api/condition.ts';
import { Diagnostics } from '../api/diagnostics.ts';
import { agentObjects } from './agent-objects.ts';
import { type AgentInput, agentValues } from './agent-values.ts';
import { manifestWorks } from './manifest-works.ts';

/** The objects for the cluster's namespace on the hub. */
export type RenderedAgent =
  | {
      readonly kind: 'rendered';
      readonly works: readonly KubeObject[];
      /** Sentences for the addon's status about settings that are accepted and have no effect. */
      readonly notices: readonly string[];
    }
  /**
   * The agent cannot be rendered yet, or not any more. Objects that exist stay. `message` is for
   * the log.
   */
  | { readonly kind: 'waiting'; readonly message: string }
  /** Objects that exist stay. `message` is for the addon's status. */
  | { readonly kind: 'failed'; readonly message: string };

/** Renders the ManifestWorks with one cluster's agent. The same input gives the same bytes. */
export function renderAgent(input: AgentInput): RenderedAgent {
  const waiting = waitsFor(input);
  if (waiting !== undefined) return { kind: 'waiting', message: waiting };
  const diagnostics = new Diagnostics();
  const values = agentValues(input, diagnostics);
  if (values === undefined) return { kind: 'failed', message: diagnostics.problems.join('; ') };
  const works = manifestWorks(input.addon, agentObjects(values), input.caBundle);
  return { kind: 'rendered', works, notices: diagnostics.notices };
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
