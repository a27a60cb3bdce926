import type { FieldProblem } from '../api/field-problem.ts';
import { proxyConfigurationName } from '../api/names.ts';
import { proxyAgentFlags, proxyServerFlags } from '../compat/additional-args-table.ts';
import { type ProgramFlag, readAdditionalArgs } from '../compat/additional-args.ts';
import { checkConfiguration, ignoredFields } from './check-configuration.ts';
import type { ManagedProxyConfigurationSpec } from './configuration-spec.ts';
import { FieldReader } from './field-reader.ts';
import { readConfigurationSpec } from './read-configuration-spec.ts';

/** A ManagedProxyConfiguration that has been read; nothing in it is missing and nothing was thrown. */
export interface ManagedProxyConfiguration {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  /** It is going away, and what it owns with it. */
  readonly isDeleted: boolean;
  readonly spec: ManagedProxyConfigurationSpec;
  /** `spec.proxyServer.additionalArgs` as flags of `culvert broker`. */
  readonly brokerFlags: readonly ProgramFlag[];
  /** `spec.proxyAgent.additionalArgs` as flags of `culvert agent`. */
  readonly agentFlags: readonly ProgramFlag[];
  /** Not empty: what it asks for is not to be carried out until somebody has corrected it. */
  readonly problems: readonly FieldProblem[];
  /** Fields that are accepted and have no effect. */
  readonly ignored: readonly FieldProblem[];
}

/** Reads an object as the API server returned it, or anything else: nothing is thrown, what is wrong is listed in `problems`. */
export function parseManagedProxyConfiguration(object: unknown): ManagedProxyConfiguration {
  const problems: FieldProblem[] = [];
  const root = new FieldReader(object, '', problems);
  const metadata = root.child('metadata');
  const reader = root.child('spec');
  const spec = readConfigurationSpec(reader);
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
  checkConfiguration(spec, reader);
  return {
    name: metadata.text('name', proxyConfigurationName),
    uid: metadata.text('uid', ''),
    generation: metadata.integer('generation', 0, 0, Number.MAX_SAFE_INTEGER),
    isDeleted: metadata.has('deletionTimestamp'),
    spec,
    brokerFlags: broker.flags,
    agentFlags: agent.flags,
    problems,
    ignored: [...ignoredFields(spec), ...broker.ignored, ...agent.ignored],
  };
}
