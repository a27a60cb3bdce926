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
}

/** Variables are wrong. The message names them, and never contains the value of a secret. */
export class EdgeOptionsError extends Error {
  override readonly name = 'EdgeOptionsError';
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
  const problems: string[] = [];
  const texts = new Map<string, string>();
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('CULVERT_') || value === '') continue;
    const known = (Object.values(variables) as string[]).includes(name);
    if (known && typeof value === 'string') texts.set(name, value);
    else problems.push(known ? `${name} is not text` : `${name} is unknown`);
  }

  /** Reads a variable. If `parse` returns undefined, notes a problem and returns the default. */
  const read = <T>(name: string, otherwise: T, parse: (text: string) => T | undefined): T => {
    const text = texts.get(name);
    const value = text === undefined ? otherwise : parse(text);
    if (value === undefined) problems.push(`${name} is not what it should be`);
    return value ?? otherwise;
  };
  const tokenPublicKeys = read<readonly string[]>(variables.keys, [], (text) => {
    const keys = text.replaceAll('\\n', '\n').match(pem);
    return keys ?? undefined;
  });
  const open = read(variables.open, false, (text) =>
    text === 'true' ? true : text === 'false' ? false : undefined,
  );
  const acceptRate = read(variables.acceptRate, 200, (text) =>
    /^[1-9]\d{0,6}$/.test(text) ? Number(text) : undefined,
  );
  const logLevel = read<LogLevel>(variables.logLevel, 'info', (text) =>
    logLevels.find((level) => level === text),
  );
  const silenceLimitMs = read(variables.silenceLimit, 60_000, parseSeconds);
  if (tokenPublicKeys.length === 0 && !open) {
    problems.push(
      `${variables.keys} is not set, so nobody can be let in (culvert token keygen makes a key); ` +
        `for a try without credentials set ${variables.open} to "true"`,
    );
  }
  if (problems.length > 0) throw new EdgeOptionsError(problems.join('; '));
  return { tokenPublicKeys, acceptRate, logLevel, silenceLimitMs };
}

/** `60s` as milliseconds. */
function parseSeconds(text: string): number | undefined {
  const seconds = /^([1-9]\d{0,5})s$/.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
