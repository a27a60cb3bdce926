import type { FieldProblem } from '../api/field-problem.ts';
import { fields, integer, text } from '../api/fields.ts';
import { proxyConfigurationName } from '../api/names.ts';
import { proxyAgentFlags, proxyServerFlags } from '../compat/additional-args-table.ts';
import { type ProgramFlag, readAdditionalArgs } from '../compat/additional-args.ts';
import { checkSpec, ignoredFields } from './check-spec.ts';
import { type ConfigurationSpec, readSpec } from './spec.ts';

/** A ManagedProxyConfiguration with all defaults. */
export interface ManagedProxyConfiguration {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** The object is being deleted, and so is everything that it owns. */
  readonly isDeleted: boolean;
  readonly spec: ConfigurationSpec;
  /** `spec.proxyServer.additionalArgs` as flags of `culvert broker`. */
  readonly brokerFlags: readonly ProgramFlag[];
  /** `spec.proxyAgent.additionalArgs` as flags of `culvert agent`. */
  readonly agentFlags: readonly ProgramFlag[];
  /** While there are problems, nothing that the object asks for is carried out. */
  readonly problems: readonly FieldProblem[];
  /** Fields that are accepted and have no effect. */
  readonly ignored: readonly FieldProblem[];
}

/** Reads an object as the API server returned it, or any other value. Errors are not thrown, but listed in `problems`. */
export function parseManagedProxyConfiguration(object: unknown): ManagedProxyConfiguration {
  const metadata = fields(fields(object)['metadata']);
  const problems: FieldProblem[] = [];
  const spec = readSpec(fields(object)['spec'], problems);
  const { proxyServer, proxyAgent } = spec;
  const broker = readAdditionalArgs(
    proxyServer.additionalArgs,
    proxyServerFlags,
    'spec.proxyServer.additionalArgs',
  );
  const agent = readAdditionalArgs(
    proxyAgent.additionalArgs,
    proxyAgentFlags,
    'spec.proxyAgent.additionalArgs',
  );
  problems.push(...broker.problems, ...agent.problems);
  checkSpec(spec, problems);
  return {
    name: text(metadata['name']) || proxyConfigurationName,
    uid: text(metadata['uid']),
    generation: integer(metadata['generation']) ?? 0,
    isDeleted: metadata['deletionTimestamp'] !== undefined,
    spec,
    brokerFlags: broker.flags,
    agentFlags: agent.flags,
    problems,
    ignored: [...ignoredFields(spec), ...broker.ignored, ...agent.ignored],
  };
}
