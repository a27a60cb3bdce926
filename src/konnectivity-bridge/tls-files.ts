import { readFile } from 'node:fs/promises';
import { asError } from '../base/error.ts';
import { BridgeError } from './bridge-error.ts';
import type { TlsFiles } from './options.ts';

/** What the files of `TlsFiles` hold, as PEM. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa: Buffer;
}

/** Reads certificate, key and client CA: the one place where they enter. @throws BridgeError `invalid_options` */
export async function readTlsFiles(files: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, clientCa] = await Promise.all([
    readPem(files.certFile, 'certificate'),
    readPem(files.keyFile, 'key'),
    readPem(files.clientCaFile, 'client CA'),
  ]);
  return { cert, key, clientCa };
}

async function readPem(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new BridgeError(
      'invalid_options',
      `cannot read the ${what} of the bridge: ${asError(error).message}`,
      {
        cause: error,
      },
    );
  }
}
