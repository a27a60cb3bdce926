import { createSecureContext, type ConnectionOptions } from 'node:tls';
import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { ReloadedFiles, type ReloadStatus } from '../../base/files/reloaded-files.ts';
import { trustServersOf } from '../../base/tls/tls-trust.ts';
import type { RedisTarget } from './redis-target.ts';

/** Files in PEM for `rediss://`. */
export interface RedisTlsFiles {
  /** Trusted besides the well-known CAs. */
  readonly caFile?: string;
  /** A client certificate, for a Redis that asks for one. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The name in Redis's certificate (default: the host). */
  readonly serverName?: string;
}

/**
 * TLS for the connections to Redis. Files are read again when they change, for the next connection.
 */
export interface RedisTls {
  /** Changed in place, because ioredis reads this object whenever it connects. */
  readonly options: ConnectionOptions;
  /** Undefined: no file is used. */
  readonly files: ReloadStatus | undefined;
}

/**
 * @returns undefined for a Redis without TLS
 * @throws Error a file cannot be read, or does not hold what it should
 */
export async function openRedisTls(
  target: RedisTarget,
  files: RedisTlsFiles = {},
  log: Logger,
): Promise<RedisTls | undefined> {
  if (target.tls !== true) return undefined;
  const { caFile, certFile, keyFile, serverName } = files;
  const options: ConnectionOptions = serverName === undefined ? {} : { servername: serverName };
  const named = Object.entries({ ca: caFile, cert: certFile, key: keyFile }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  if (named.length === 0) return { options, files: undefined };
  const opened = await ReloadedFiles.open({
    what: 'TLS files of Redis',
    paths: named.map(([, path]) => path),
    make: (contents) => {
      const texts = Object.fromEntries(named.map(([field], index) => [field, contents[index]!]));
      return optionsOf(texts, caFile);
    },
    clock: systemClock,
    log,
  });
  Object.assign(options, opened.value);
  opened.onChange((changed) => Object.assign(options, changed));
  return { options, files: opened };
}

function optionsOf(
  { ca, ...shown }: { readonly [field: string]: string },
  caFile: string | undefined,
): ConnectionOptions {
  const options = { ...shown, ...(ca !== undefined && trustOf(ca, caFile)) };
  // Throws if the key does not belong to the certificate.
  createSecureContext(options);
  return options;
}

function trustOf(ca: string, path: string | undefined): ConnectionOptions {
  try {
    return trustServersOf([ca], 'well-known');
  } catch (cause) {
    const message = `--redis-ca=${path} cannot be used: ${describeError(cause)}`;
    throw new Error(message, { cause });
  }
}
