import { StandardAgentError } from './standard-agent-error.ts';

/** What an agent says about the destinations that it serves, within its cluster. */
export interface AgentIdentifiers {
  /** Its `ipv4`, `ipv6` and `host` values, which the strategy `destHost` compares exactly. */
  readonly hosts: ReadonlySet<string>;
  /** Whether the strategy `defaultRoute` may choose it. */
  readonly isDefaultRoute: boolean;
}

/** More values are refused, because each is kept as long as the agent is connected. */
const maxHosts = 1_000;

const hostKeys: ReadonlySet<string> = new Set(['ipv4', 'ipv6', 'host']);
/** The texts that Go's `strconv.ParseBool` takes for true. */
const trueTexts: ReadonlySet<string> = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);

/**
 * Parses the metadata `agentIdentifiers`, a URL query, as upstream's server does: unknown keys are
 * ignored, a semicolon is an error, and of several `default-route` the first counts.
 *
 * @throws StandardAgentError `invalid_metadata`
 */
export function parseAgentIdentifiers(text: string): AgentIdentifiers {
  const hosts = new Set<string>();
  let defaultRoute: string | undefined;
  for (const part of text.split('&')) {
    if (part === '') continue;
    if (part.includes(';')) throw invalid('invalid semicolon separator in query');
    const equals = part.indexOf('=');
    const key = unescape(equals === -1 ? part : part.slice(0, equals));
    const value = unescape(equals === -1 ? '' : part.slice(equals + 1));
    if (hostKeys.has(key)) hosts.add(value);
    else if (key === 'default-route') defaultRoute ??= value;
  }
  if (hosts.size > maxHosts) throw invalid(`more than ${maxHosts} identifiers`);
  return { hosts, isDefaultRoute: trueTexts.has(defaultRoute ?? '') };
}

function unescape(text: string): string {
  const wrong = /%(?![0-9a-fA-F]{2}).{0,2}/.exec(text)?.[0];
  if (wrong !== undefined) throw invalid(`invalid URL escape ${JSON.stringify(wrong)}`);
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw invalid(`${JSON.stringify(text)} is not UTF-8`);
  }
}

function invalid(reason: string): StandardAgentError {
  return new StandardAgentError('invalid_metadata', `fail to parse url encoded string: ${reason}`);
}
