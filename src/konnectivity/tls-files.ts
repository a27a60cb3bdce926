import { createSecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { ReloadedFiles } from '../base/files/reloaded-files.ts';
import { defaultTlsPolicy, type TlsPolicy } from '../base/tls/tls-policy.ts';
import { trustClientsOf } from '../base/tls/tls-trust.ts';
import { KonnectivityError } from './konnectivity-error.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** The CAs of clients' certificates; undefined: clients are asked for no certificate. */
  readonly clientCaFile: string | undefined;
}

/** The contents of `TlsFiles`, as PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  readonly choice: TlsPolicy;
}

export interface OpenTlsFilesParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly choice?: TlsPolicy | undefined;
  /** The service in log lines and errors (default: the konnectivity bridge). */
  readonly service?: string;
}

/**
 * Reads certificate, key and client CA, and reads them again when the files change.
 *
 * @throws KonnectivityError `invalid_options`
 */
export async function openTlsFiles(
  files: TlsFiles,
  { choice = defaultTlsPolicy, service = 'the konnectivity bridge', clock, log }: OpenTlsFilesParts,
): Promise<ReloadedFiles<TlsMaterial>> {
  const { certFile, keyFile, clientCaFile } = files;
  try {
    return await ReloadedFiles.open({
      what: `certificate, key and client CA of ${service}`,
      paths: [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])],
      make: ([cert = '', key = '', clientCa]) => {
        const trust = clientCa === undefined ? {} : trustClientsOf(clientCa);
        // Throws if a server cannot use them, for example a key of another certificate.
        createSecureContext({ cert, key, ...trust, ...choice });
        return { cert, key, clientCa, choice };
      },
      clock,
      log,
    });
  } catch (error) {
    throw new KonnectivityError('invalid_options', problemOf(files, service, error), {
      cause: error,
    });
  }
}

function problemOf(files: TlsFiles, service: string, error: unknown): string {
  const { path } = error as { path?: unknown };
  const names = { certFile: 'certificate', keyFile: 'key', clientCaFile: 'client CA' } as const;
  for (const [file, name] of Object.entries(names)) {
    if (path !== undefined && path === files[file as keyof TlsFiles]) {
      return `cannot read the ${name} of ${service}: ${describeError(error)}`;
    }
  }
  return `certificate, key and client CA of ${service} do not fit: ${describeError(error)}`;
}
