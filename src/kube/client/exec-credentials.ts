import { Secret } from '../../base/secret.ts';
import { type ExecPlugin, runExecPlugin } from './exec-plugin.ts';
import type { KubeEndpoint } from './kube-endpoint.ts';

export type Credentials = Pick<KubeEndpoint, 'certificate' | 'token'>;

interface HeldCredentials {
  /** Identifies the plugin and its arguments. */
  readonly key: string;
  readonly credentials: Credentials;
  /** Infinity: they do not expire by themselves. */
  readonly expiresAtMs: number;
}

/**
 * The credentials that an exec plugin printed. They are held until they expire, until the
 * kubeconfig names another plugin, or until `forget`.
 */
export class ExecCredentials {
  readonly #nowMs: () => number;
  #held: HeldCredentials | undefined;

  /** @param nowMs the time of day, in milliseconds since 1970 (default: the system's) */
  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  /** @throws Error that says what is wrong with the plugin or its answer */
  async get(plugin: ExecPlugin): Promise<Credentials> {
    const key = JSON.stringify(plugin);
    const held = this.#held;
    if (held?.key === key && held.expiresAtMs > this.#nowMs()) return held.credentials;
    const decoded = decodeExecCredential(await runExecPlugin(plugin), plugin.apiVersion);
    this.#held = { key, ...decoded };
    return decoded.credentials;
  }

  /** The API server refused the credentials: the next `get` runs the plugin, as client-go does. */
  forget(): void {
    this.#held = undefined;
  }
}

interface RawExecCredential {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly status?: Readonly<Record<string, unknown>> | null;
}

/** @throws Error. No sentence repeats the answer, because it may hold credentials. */
function decodeExecCredential(text: string, apiVersion: string) {
  const answer = parseJson(text);
  if (answer?.kind !== 'ExecCredential') throw new Error('its output is not an ExecCredential');
  if (answer.apiVersion !== apiVersion) {
    throw new Error(`it answers in another version than ${apiVersion}, which its kubeconfig names`);
  }
  const field = (name: string): string | undefined => {
    const value = answer.status?.[name] ?? '';
    if (typeof value !== 'string') throw new Error(`status.${name} of its output is not text`);
    return value === '' ? undefined : value;
  };
  const token = field('token');
  const cert = field('clientCertificateData');
  const key = field('clientKeyData');
  if ((cert === undefined) !== (key === undefined)) {
    throw new Error('its output has a client certificate or a client key, both are needed');
  }
  if (token === undefined && cert === undefined) {
    throw new Error('its output has neither a token nor a client certificate');
  }
  const expiry = field('expirationTimestamp');
  const expiresAtMs = expiry === undefined ? Infinity : Date.parse(expiry);
  if (Number.isNaN(expiresAtMs)) {
    throw new Error('status.expirationTimestamp of its output is not a time (RFC 3339)');
  }
  const credentials: Credentials = {
    token: token === undefined ? undefined : new Secret(token),
    certificate: cert === undefined ? undefined : { cert, key: new Secret(key!) },
  };
  return { credentials, expiresAtMs };
}

function parseJson(text: string): RawExecCredential | undefined {
  try {
    return JSON.parse(text) as RawExecCredential | undefined;
  } catch {
    return undefined;
  }
}
