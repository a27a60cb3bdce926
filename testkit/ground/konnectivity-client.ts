import type { CertificateFiles } from '../world/certificates.ts';
import { runProgram } from '../processes/process.ts';
import type { GoPrograms } from './go-programs.ts';

/**
 * How the Go client reaches a front: an address (`HOST:PORT` or `unix:PATH`), and certificates
 * unless it is plaintext.
 */
export interface FrontAccess {
  readonly address: string;
  /** The CA of the front's certificate, and the client's certificate and key. */
  readonly tls?: { readonly serverCa: string; readonly client?: CertificateFiles };
}

export interface ClientRun {
  /** True when the sub-command succeeded (exit code 0). */
  readonly ok: boolean;
  /** The reason of a failure. */
  readonly error?: string;
  /** The results of the sub-command. testkit/ground/go/client documents the fields. */
  readonly [field: string]: unknown;
}

/** The flags of both Go programs for the front. */
export function frontFlags({ address, tls }: FrontAccess): string[] {
  const flags = ['--front', address];
  if (tls !== undefined) flags.push('--ca', tls.serverCa);
  if (tls?.client !== undefined) flags.push('--cert', tls.client.cert, '--key', tls.client.key);
  return flags;
}

/** Runs one sub-command of our Go client to its end and returns the JSON line it prints. */
export async function runClient(
  go: GoPrograms,
  front: FrontAccess,
  subCommand: string,
  ...args: readonly string[]
): Promise<ClientRun> {
  const { stdout, output, code } = await runProgram({
    command: go.client,
    name: `Go client ${subCommand}`,
    args: [subCommand, ...frontFlags(front), ...args],
    timeoutMs: 120_000,
  });
  try {
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as ClientRun;
  } catch (error) {
    const message = `the Go client ended with code ${code} and without a result:\n${output}`;
    throw new Error(message, { cause: error });
  }
}
