import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { type CaUse, readCaCertificates } from '../tls/ca-certificates.ts';
import { describeError } from '../error.ts';
import { aliasAsNameText, isClusterAlias, isDnsLabel } from '../names/cluster-name.ts';
import { ValueError } from '../value-error.ts';
import { didYouMean } from './option-problems.ts';

const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const unitsBytes = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/**
 * The longest delay that a runtime's timer supports. A longer delay overflows, and the timer fires
 * at once.
 */
const longestTimerMs = 2 ** 31 - 1;

export function parseDurationMs(text: string, minMs = 0, maxMs = longestTimerMs): number {
  const parts = /^(\d+)(ms|s|m|h|d)?$/.exec(text);
  if (parts === null) throw new ValueError('is not a duration (10s, 500ms, 2m)');
  if (parts[2] === undefined) throw new ValueError('needs a unit (10s, 500ms)');
  const durationMs = Number(parts[1]) * unitsMs[parts[2] as keyof typeof unitsMs];
  if (durationMs < minMs) throw new ValueError(`is too short, at least ${minMs}ms`);
  if (durationMs > maxMs) {
    throw new ValueError(`is too long, at most ${Math.floor(maxMs / unitsMs.h)}h`);
  }
  return durationMs;
}

export function parseBytes(text: string): number {
  const parts = /^(\d+)(B|KiB|MiB|GiB)?$/.exec(text);
  if (parts === null) throw new ValueError('is not a size (64KiB, 16MiB, 1GiB)');
  if (parts[2] === undefined) throw new ValueError('needs a unit (64KiB, 16MiB)');
  const bytes = Number(parts[1]) * unitsBytes[parts[2] as keyof typeof unitsBytes];
  if (!Number.isSafeInteger(bytes)) throw new ValueError('is larger than any memory');
  return bytes;
}

export function parseInteger(text: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new ValueError('is not a whole number');
  if (value < min) throw new ValueError(`is too small, at least ${min}`);
  if (value > max) throw new ValueError(`is too large, at most ${max}`);
  return value;
}

export function parseBoolean(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new ValueError('is neither true nor false');
}

export function parseChoice(text: string, choices: readonly string[]): string {
  if (choices.includes(text)) return text;
  throw new ValueError(`is none of ${choices.join(', ')}${didYouMean(text, choices)}`);
}

export function parseUrl(text: string, protocols: readonly string[]): URL {
  const wanted = protocols.map((protocol) => `${protocol}//`).join(' or ');
  // The protocol must be checked, because "localhost:8080" parses as a URL of scheme "localhost:".
  const url = URL.parse(withBrackets(text)) ?? undefined;
  if (url === undefined || !protocols.includes(url.protocol) || url.hostname === '') {
    throw new ValueError(`is not a URL that starts with ${wanted}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ValueError('carries a user or password; credentials do not belong into a URL');
  }
  return url;
}

/**
 * Adds missing brackets around the IPv6 address of a URL. Kubernetes expands `wss://$(POD_IP):8091`
 * to `wss://fd00::1:8091`, without brackets. The last number is the port.
 */
function withBrackets(text: string): string {
  const [, scheme, host, rest] =
    /^([a-z]+:\/\/)([\da-fA-F:.]+)(:\d{1,5}(?:\/.*)?)$/.exec(text) ?? [];
  return host !== undefined && isIPv6(host) ? `${scheme}[${host}]${rest}` : text;
}

export function parseDnsLabel(text: string): string {
  if (isDnsLabel(text)) return text;
  throw new ValueError(
    'is not a DNS label (lower case letters, digits and inner hyphens, at most 63)',
  );
}

/** Reads the name of a cluster, as tokens and certificates hold it. */
export function parseClusterName(text: string): string {
  if (isClusterAlias(text)) throw new ValueError(`is no name for a cluster: ${aliasAsNameText}`);
  return parseDnsLabel(text);
}

/**
 * Checks that the file can be read now, and returns its path. Programs read the file again each
 * time they need it, so that it can be rotated.
 *
 * @param holdsCasOf the file must hold CA certificates for this use
 */
export function parseFile(path: string, holdsCasOf?: CaUse): string {
  checkReadable(path);
  if (holdsCasOf === undefined) return path;
  try {
    readCaCertificates(readFileSync(path, 'utf8'), holdsCasOf);
    return path;
  } catch (thrown) {
    throw new ValueError(`cannot be used: ${describeError(thrown)}`);
  }
}

function checkReadable(path: string): void {
  try {
    if (statSync(path).isDirectory()) throw new ValueError('is a directory, a file is needed');
    accessSync(path, constants.R_OK);
  } catch (thrown) {
    if (thrown instanceof ValueError) throw thrown;
    const code = (thrown as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'not allowed' : code;
    throw new ValueError(`cannot be read: ${reason}`);
  }
}
