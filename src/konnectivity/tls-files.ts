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
  readonly clientCaFile: string;
}

/** The contents of `TlsFiles`, as PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
  readonly choice: TlsPolicy;
}

/**
 * Reads certificate, key and client CA, and reads them again when the files change.
 *
 * @throws KonnectivityError `invalid_options`
 */
export async function openTlsFiles(
  files: TlsFiles,
  {
    choice = defaultTlsPolicy,
    ...parts
  }: { readonly clock: Clock; readonly log: Logger; readonly choice?: TlsPolicy | undefined },
): Promise<ReloadedFiles<TlsMaterial>> {
  try {
    return await ReloadedFiles.open({
      what: 'certificate, key and client CA of the konnectivity bridge',
      paths: [files.certFile, files.keyFile, files.clientCaFile],
      make: ([cert = '', key = '', clientCa = '']) => {
        // Throws if a server cannot use them, for example a key of another certificate.
        createSecureContext({ cert, key, ...trustClientsOf(clientCa), ...choice });
        return { cert, key, clientCa, choice };
      },
      ...parts,
    });
  } catch (error) {
    throw new KonnectivityError('invalid_options', problemOf(files, error), { cause: error });
  }
}

function problemOf(files: TlsFiles, error: unknown): string {
  const { path } = error as { path?: unknown };
  const names = { certFile: 'certificate', keyFile: 'key', clientCaFile: 'client CA' } as const;
  for (const [file, name] of Object.entries(names)) {
    if (path === files[file as keyof TlsFiles]) {
      return `cannot read the ${name} of the bridge: ${describeError(error)}`;
    }
  }
  return `certificate, key and client CA of the bridge do not fit: ${describeError(error)}`;
}
