import type { FieldProblem } from '../api/field-problem.ts';
import { fields, integer, text } from '../api/fields.ts';
import { proxyConfigurationName } from '../api/names.ts';
import { proxyAgentFlags, proxyServerFlags } from '../compat/additional-args-table.ts';
import { type FlagRules, readAdditionalArgs } from '../compat/additional-args.ts';
import { oidcIssuerOf } from '../compat/oidc-variables.ts';
import { serviceProxyDefaults, serviceProxyFlags } from '../compat/service-proxy-args.ts';
import { checkSpec, ignoredFields } from './check-spec.ts';
import { readSpec } from './spec.ts';

/** A ManagedProxyConfiguration with all defaults. */
export type ManagedProxyConfiguration = Readonly<ReturnType<typeof parseManagedProxyConfiguration>>;

const serviceProxyField = 'spec.proxyAgent.additionalServiceProxyArgs';

/**
 * Reads an object as the API server returned it, or any other value. Errors are not thrown, but
 * listed in `problems`.
 */
export function parseManagedProxyConfiguration(object: unknown) {
  const metadata = fields(fields(object)['metadata']);
  const problems: FieldProblem[] = [];
  const spec = readSpec(fields(object)['spec'], problems);
  const { proxyServer, proxyAgent } = spec;
  const flagsOf = (args: readonly string[], rules: FlagRules, program: string) =>
    readAdditionalArgs(args, rules, `spec.${program}.additionalArgs`);
  const broker = flagsOf(proxyServer.additionalArgs, proxyServerFlags, 'proxyServer');
  const agent = flagsOf(proxyAgent.additionalArgs, proxyAgentFlags, 'proxyAgent');
  const serviceProxy = readAdditionalArgs(
    proxyAgent.additionalServiceProxyArgs,
    serviceProxyFlags,
    serviceProxyField,
  );
  const defaults = serviceProxyDefaults(serviceProxy.flags);
  const oidcProblems = oidcIssuerOf({}, defaults.oidc).problems;
  problems.push(...broker.problems, ...agent.problems, ...serviceProxy.problems);
  problems.push(...oidcProblems.map((text) => ({ field: serviceProxyField, sentence: text })));
  checkSpec(spec, problems);
  return {
    name: text(metadata['name']) || proxyConfigurationName,
    uid: text(metadata['uid']),
    generation: integer(metadata['generation']) ?? 0,
    /** The object is being deleted, and so is everything that it owns. */
    isDeleted: metadata['deletionTimestamp'] !== undefined,
    spec,
    /** `spec.proxyServer.additionalArgs` as flags of `culvert broker`. */
    brokerFlags: broker.flags,
    /** `spec.proxyAgent.additionalArgs` as flags of `culvert agent`. */
    agentFlags: agent.flags,
    /** `spec.proxyAgent.additionalServiceProxyArgs`, for clusters that set nothing else. */
    serviceProxy: defaults,
    /** While there are problems, nothing that the object asks for is carried out. */
    problems: problems as readonly FieldProblem[],
    /** Fields that are accepted and have no effect. */
    ignored: [...ignoredFields(spec), ...broker.ignored, ...agent.ignored, ...serviceProxy.ignored],
  };
}
