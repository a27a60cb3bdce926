import { readFileSync } from 'node:fs';

/**
 * The assumed limit when the system does not tell it. It is the default of many Linux
 * distributions.
 */
const unknownLimit = 1024;

/** The assumed limit when open files are unlimited. Memory then limits their number. */
const unlimited = 1024 * 1024;

/**
 * The number of descriptors that this process may open: the current RLIMIT_NOFILE. Node raises the
 * soft limit to the hard limit when it starts, so both are the same.
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
    // The system is not Linux.
    return '';
  }
}

/**
 * Descriptors that are reserved for probes, reloaded files, the directory, name lookups and the
 * runtime. Connections of clients and dials to targets cannot use them.
 */
const reservedFiles = { least: 32, most: 512, part: 1 / 4 } as const;

/**
 * The number of connections that a part of a process may have, so that descriptors remain for
 * everything else.
 *
 * @param share the part of the descriptors that are not reserved, from 0 to 1; the sum of the
 *   shares in one process is at most 1
 */
export function connectionShare(share: number, limit = openFileLimit()): number {
  const { least, most, part } = reservedFiles;
  const reserved = Math.min(most, Math.max(least, Math.ceil(limit * part)));
  return Math.max(1, Math.floor((limit - reserved) * share));
}
