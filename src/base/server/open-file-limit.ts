import { readFileSync } from 'node:fs';

/** Assumed where the system does not say; the default of many Linux distributions. */
const unknownLimit = 1024;

/** Where nothing limits open files, memory is the limit. */
const unlimited = 1024 * 1024;

/**
 * How many descriptors this process may have open: RLIMIT_NOFILE as it is in force. Node raises the soft limit to the hard one when it
 * starts, so both are the same.
 */
export function openFileLimit(readLimits = readProcLimits): number {
  const [, soft] = /^Max open files +(\S+)/m.exec(readLimits()) ?? [];
  if (soft === 'unlimited') return unlimited;
  const limit = Number(soft ?? unknownLimit);
  return Number.isSafeInteger(limit) && limit > 0 ? Math.min(limit, unlimited) : unknownLimit;
}

function readProcLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    // No Linux.
    return '';
  }
}

/** Descriptors that no listener for strangers and no target may use: probes, reloaded files, the directory, name lookups, the runtime. */
const reservedFiles = { least: 32, most: 512, part: 1 / 4 } as const;

/**
 * How many connections a part of a process may have, so that descriptors are left for everything else.
 *
 * @param share the part of what is not reserved, from 0 to 1; the shares of one process sum up to 1 at most
 */
export function connectionShare(share: number, limit = openFileLimit()): number {
  const { least, most, part } = reservedFiles;
  const reserved = Math.min(most, Math.max(least, Math.ceil(limit * part)));
  return Math.max(1, Math.floor((limit - reserved) * share));
}
