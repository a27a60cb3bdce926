import { accessVariables, type EdgeAccessOptions, readAccessOptions } from './access-options.ts';
import { EdgeVariables, parseBoolean } from './edge-variables.ts';
import {
  gatewayVariables,
  readGatewayOptions,
  type EdgeGatewayOptions,
} from './gateway-options.ts';
import { type LogLevel, logLevels } from '../../base/log/log-level.ts';

/** The Worker's options, from its variables and secrets. */
export interface EdgeOptions {
  /**
   * Public keys of enrolment tokens, PEM. Empty: the operator allows all clients without a
   * credential.
   */
  readonly tokenPublicKeys: readonly string[];
  /** WebSocket upgrades per second that one isolate admits. */
  readonly acceptRate: number;
  readonly logLevel: LogLevel;
  /** A peer that was silent for longer is dead, in milliseconds. */
  readonly silenceLimitMs: number;
  readonly access: EdgeAccessOptions;
  /** Undefined: the Worker serves no HTTP clients of clusters. */
  readonly gateway: EdgeGatewayOptions | undefined;
}

const variables = {
  keys: 'CULVERT_TOKEN_PUBLIC_KEY',
  open: 'CULVERT_OPEN',
  acceptRate: 'CULVERT_ACCEPT_RATE',
  logLevel: 'CULVERT_LOG_LEVEL',
  silenceLimit: 'CULVERT_SILENCE_LIMIT',
} as const;

const pem = /-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----/g;

/**
 * Reads the variables of the Worker's environment. An empty variable counts as not set.
 *
 * @throws EdgeOptionsError all problems together
 */
export function readEdgeOptions(env: object): EdgeOptions {
  const given = new EdgeVariables(env, [
    ...Object.values(variables),
    ...Object.values(accessVariables),
    ...Object.values(gatewayVariables),
  ]);
  const read = given.read.bind(given);
  const tokenPublicKeys = read<readonly string[]>(variables.keys, [], (text) => {
    const keys = text.replaceAll('\\n', '\n').match(pem);
    return keys ?? undefined;
  });
  const open = read(variables.open, false, parseBoolean);
  const acceptRate = read(variables.acceptRate, 200, (text) =>
    /^[1-9]\d{0,6}$/.test(text) ? Number(text) : undefined,
  );
  const logLevel = read<LogLevel>(variables.logLevel, 'info', (text) =>
    logLevels.find((level) => level === text),
  );
  const silenceLimitMs = read(variables.silenceLimit, 60_000, parseSeconds);
  if (tokenPublicKeys.length === 0 && !open) {
    given.problem(
      `${variables.keys} is not set, so nobody can be let in (culvert token keygen makes a key); ` +
        `for a try without credentials set ${variables.open} to "true"`,
    );
  }
  const access = readAccessOptions(given);
  const gateway = readGatewayOptions(given);
  given.throwProblems();
  return { tokenPublicKeys, acceptRate, logLevel, silenceLimitMs, access, gateway };
}

/** `60s` as milliseconds. */
function parseSeconds(text: string): number | undefined {
  const seconds = /^([1-9]\d{0,5})s$/.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
