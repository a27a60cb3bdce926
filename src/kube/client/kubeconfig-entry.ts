import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { KubeError } from './kube-error.ts';

/**
 * The fields of one context, cluster or user of a kubeconfig. As in client-go, a field that is
 * empty or null is absent, and a path is relative to the kubeconfig.
 */
export class KubeconfigEntry {
  readonly #path: string;
  readonly #what: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  /** @param what `cluster`, for messages */
  constructor(path: string, what: string, fields: unknown) {
    this.#path = path;
    this.#what = what;
    const isObject = typeof fields === 'object' && fields !== null;
    this.#fields = isObject ? (fields as Record<string, unknown>) : {};
  }

  /**
   * Whether a field is present and neither null, nor empty text, nor an empty list. An empty object
   * is present.
   */
  has(field: string): boolean {
    const value = this.#fields[field];
    if (Array.isArray(value)) return value.length > 0;
    return value !== undefined && value !== null && value !== '';
  }

  /**
   * @throws KubeError `bad_config` if it is not text. The message does not repeat the value, which
   *   may be a credential.
   */
  text(field: string): string | undefined {
    if (!this.has(field)) return undefined;
    const value = this.#fields[field];
    if (typeof value === 'string') return value;
    throw this.#bad(`${field} of its ${this.#what} is not text, put it in quotes`);
  }

  /** The value as it is in the file, of any type. */
  value(field: string): unknown {
    return this.#fields[field];
  }

  /** A list of texts, empty when the field is absent. @throws KubeError `bad_config` */
  texts(field: string): readonly string[] {
    return this.#list(field).map((item) => {
      if (typeof item === 'string') return item;
      throw this.#bad(
        `${field} of its ${this.#what} has an item that is not text, put it in quotes`,
      );
    });
  }

  /**
   * An object inside this one, without fields when it is absent.
   *
   * @param what names it in messages
   */
  entry(field: string, what: string): KubeconfigEntry {
    return new KubeconfigEntry(this.#path, what, this.#fields[field]);
  }

  /** A list of objects, empty when the field is absent. @throws KubeError `bad_config` */
  entries(field: string, what: string): readonly KubeconfigEntry[] {
    return this.#list(field).map((item) => new KubeconfigEntry(this.#path, what, item));
  }

  /** @throws KubeError `bad_config` if it is neither true nor false */
  flag(field: string): boolean {
    if (!this.has(field)) return false;
    const value = this.#fields[field];
    if (typeof value === 'boolean') return value;
    throw this.#bad(`${field} of its ${this.#what} is neither true nor false`);
  }

  /**
   * The contents of `<field>-data`, which is base64, or of the file that `<field>` names.
   *
   * @param what names the file in messages: `client key`
   * @throws KubeError `bad_config`
   */
  async pem(field: string, what: string): Promise<string | undefined> {
    const data = this.text(`${field}-data`);
    if (data !== undefined) {
      if (/^[A-Za-z0-9+/\s]*=?\s*=?\s*$/.test(data)) {
        return Buffer.from(data, 'base64').toString('utf8');
      }
      throw this.#bad(`${field}-data of its ${this.#what} is not base64`);
    }
    const file = this.text(field);
    if (file === undefined) return undefined;
    return await readKubeconfigPart(resolve(dirname(this.#path), file), this.#path, what);
  }

  #list(field: string): readonly unknown[] {
    if (!this.has(field)) return [];
    const value = this.#fields[field];
    if (Array.isArray(value)) return value;
    throw this.#bad(`${field} of its ${this.#what} is not a list`);
  }

  #bad(problem: string): KubeError {
    return badKubeconfig(this.#path, problem);
  }
}

/** Reads a kubeconfig, or a file that it names. @throws KubeError `bad_config` */
export async function readKubeconfigPart(
  file: string,
  kubeconfig: string,
  what: string,
): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const named = file === kubeconfig ? `the kubeconfig ${file}` : `the ${what} ${file}`;
    throw new KubeError('bad_config', `${named} cannot be read; check path and owner`, { cause });
  }
}

export function badKubeconfig(path: string, problem: string): KubeError {
  return new KubeError('bad_config', `the kubeconfig ${path} cannot be used: ${problem}`);
}
