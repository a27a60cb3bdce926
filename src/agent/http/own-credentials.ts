import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { readSecretFile } from '../../base/files/secret-file.ts';
import type { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import { TunnelError } from '../../tunnel/errors.ts';

/** How old the contents of a file may be, in milliseconds. The kubelet renews tokens in time. */
const maxAgeMs = 10_000;

interface Read<T> {
  readonly value: T;
  readonly atMs: number;
}

/** A file that is read again when it is needed and its contents are too old. */
class AgingFile<T> {
  readonly #clock: Clock;
  readonly #read: () => Promise<T>;
  #last: Read<T> | undefined;

  constructor(clock: Clock, read: () => Promise<T>) {
    this.#clock = clock;
    this.#read = read;
  }

  /** The contents, if they are not too old. */
  get fresh(): T | undefined {
    const last = this.#last;
    return last !== undefined && this.#clock.now() - last.atMs < maxAgeMs ? last.value : undefined;
  }

  async read(): Promise<T> {
    const { fresh } = this;
    if (fresh !== undefined) return fresh;
    const value = await this.#read();
    this.#last = { value, atMs: this.#clock.now() };
    return value;
  }
}

export interface OwnCredentialsOptions {
  /** The file with the token of the agent's ServiceAccount. */
  readonly tokenFile: string;
  readonly clock: Clock;
}

/** The agent's own token for its kube-apiserver. */
export class OwnCredentials {
  readonly #file: AgingFile<string>;

  constructor({ tokenFile, clock }: OwnCredentialsOptions) {
    this.#file = new AgingFile(clock, async () => {
      try {
        return `Bearer ${(await readSecretFile(tokenFile)).reveal()}`;
      } catch (cause) {
        const sentence = `the agent's own token cannot be read: ${describeError(cause)}`;
        throw new TunnelError('dial_failed', sentence, { cause });
      }
    });
  }

  /** The value of Authorization, if the file was read a short time ago. */
  get fresh(): string | undefined {
    return this.#file.fresh;
  }

  /** @throws TunnelError `dial_failed` the file cannot be read */
  read(): Promise<string> {
    return this.#file.read();
  }
}

/** CAs of servers in the cluster. Files that do not exist are left out if they are optional. */
export async function readServerCas(
  files: readonly { readonly ca: LastGoodCa; readonly path: string | undefined }[],
): Promise<string[]> {
  const texts: string[] = [];
  for (const { ca, path } of files) {
    if (path === undefined) continue;
    try {
      texts.push(await ca.readFile(path));
    } catch (cause) {
      const sentence = `the CA of the server cannot be read: ${describeError(cause)}`;
      throw new TunnelError('dial_failed', sentence, { cause });
    }
  }
  return texts;
}
