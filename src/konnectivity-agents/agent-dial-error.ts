import { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';

/** An agent's text is passed on, so its length is limited, in characters. */
const maxTextLength = 1024;

/** Parts of the texts of Go's net package, which upstream's agents send. */
const codes: readonly (readonly [RegExp, TunnelErrorCode])[] = [
  [/connection refused/, 'refused'],
  [/no such host|server misbehaving/, 'dns'],
  [/i\/o timeout|timed out|deadline exceeded/, 'timeout'],
  [/unreachable|no route to host/, 'unreachable'],
  [/unknown network/, 'unsupported_target'],
];

/** The error of a dial that a standard agent could not make. Clients get the agent's own text. */
export function agentDialError(text: string): TunnelError {
  const [, code = 'dial_failed'] = codes.find(([pattern]) => pattern.test(text)) ?? [];
  return new TunnelError(code, text.slice(0, maxTextLength));
}

/** The error of a connection that a standard agent closed with a text. */
export function agentCloseError(text: string): TunnelError {
  return new TunnelError('target_reset', text.slice(0, maxTextLength));
}
