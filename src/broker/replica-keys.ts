import { AuthenticationError, proofHeader } from './authenticator.ts';

/** The dialer that the first replica has authenticated. */
const dialerHeader = 'Culvert-Dialer';

/** A proof is valid for this long before and after it was made, in seconds. */
export const proofAgeS = 60;

/**
 * The dialer's name is followed by what the proof is bound to, so the binding is part of the signed
 * text and cannot be removed. Replicas of culvert 0.1 take it for a part of the name, which they
 * only log. Later replicas that do not know gateways require `;cluster=` and `;nonce=` at the end,
 * so `;gateway` comes before both, where they read it as a part of the name.
 */
const boundDialer = /^(.*?)(;gateway)?;cluster=([a-z0-9-]{1,63});nonce=([0-9a-f]{32})$/s;

/** With the binding, the name has at most 256 characters. Replicas read no more. */
const maxDialerLength = 128;

const minKeyLength = 16;

// The runtimes name the type of a WebCrypto key differently.
type HmacKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
type Bytes = Uint8Array<ArrayBuffer>;

/**
 * The keys that the replicas of a deployment share. The first key signs, and all keys are accepted.
 * Keys are never sent: a replica signs the address that it calls, for one minute.
 */
export class ReplicaKeys {
  readonly #keys: readonly [HmacKey, ...HmacKey[]];
  readonly #nowS: () => number;

  private constructor(keys: readonly [HmacKey, ...HmacKey[]], nowS: () => number) {
    this.#keys = keys;
    this.#nowS = nowS;
  }

  /**
   * @param text one key per line; empty lines and white space around a key do not count
   * @throws Error there is no key, or a key could be guessed
   */
  static async fromText(
    text: string,
    nowS = () => Math.floor(Date.now() / 1000),
  ): Promise<ReplicaKeys> {
    const lines = text.split('\n').map((line) => line.trim());
    const keys = lines.filter((line) => line !== '');
    // Each line is a key, so the frame of a PEM file or the short rest of a wrapped key must not
    // become one.
    if (keys.some((key) => key.length < minKeyLength || key.startsWith('-----'))) {
      const message = `a line of the keys of the replicas has fewer than ${minKeyLength} characters or is PEM; make a key with openssl rand -hex 32`;
      throw new Error(message);
    }
    const [first, ...others] = await Promise.all(keys.map(hmacKey));
    if (first === undefined) throw new Error('there is no key of the replicas in it');
    return new ReplicaKeys([first, ...others], nowS);
  }

  /**
   * Makes the proof for a request to the replica at `address`, for a session with `cluster` on
   * behalf of `dialer`, and the answer that only another replica can give. A proof is valid for one
   * request.
   */
  async prove(
    address: string,
    cluster: string,
    dialer: string,
    isGateway = false,
  ): Promise<ReplicaProof> {
    const seconds = this.#nowS();
    const [key] = this.#keys;
    const nonce = hexOf(crypto.getRandomValues(new Uint8Array(16)));
    const gateway = isGateway ? ';gateway' : '';
    // No token has a semicolon in its name. A broker without credentials accepts any name.
    const name = dialer.slice(0, maxDialerLength).replaceAll(';', '_');
    const bound = `${name}${gateway};cluster=${cluster};nonce=${nonce}`;
    const proof = `${seconds} ${await sign(key, signedText(seconds, address, bound))}`;
    return {
      headers: { [proofHeader]: proof, [dialerHeader]: encodeURIComponent(bound) },
      answer: await sign(key, answeredText(proof)),
    };
  }

  /**
   * Verifies the proof of a request to this replica, at `address`. The caller must check whether
   * the proof was used before.
   *
   * @returns undefined: the request is not from a replica
   * @throws AuthenticationError the proof is not valid
   */
  async verify(headers: Headers, address: string): Promise<VerifiedProof | undefined> {
    const proof = headers.get(proofHeader);
    if (proof === null) return undefined;
    const [, secondsText, hex] = /^(\d{1,12}) ([0-9a-f]{64})$/.exec(proof) ?? [];
    const dialer = decoded(headers.get(dialerHeader) ?? '');
    if (secondsText === undefined || hex === undefined || dialer === undefined) {
      throw new AuthenticationError('the proof of the replica is malformed');
    }
    const mac = Uint8Array.from({ length: 32 }, (_, i) =>
      Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
    );
    const seconds = Number(secondsText);
    const key = await this.#signerOf(signedText(seconds, address, dialer), mac);
    if (key === undefined) {
      throw new AuthenticationError(
        'the key of the replica is not ours, or it means another replica',
      );
    }
    if (Math.abs(this.#nowS() - seconds) > proofAgeS) {
      throw new AuthenticationError(
        'the proof of the replica is too old, or the clocks differ by a minute',
      );
    }
    const answer = await sign(key, answeredText(proof));
    const [, name = '', gateway, cluster = '', nonce = ''] = boundDialer.exec(dialer) ?? [];
    if (nonce === '') return { dialer, answer, seconds, bound: undefined };
    return {
      dialer: name,
      answer,
      seconds,
      bound: { cluster, nonce, isGateway: gateway !== undefined },
    };
  }

  /** The key that made `mac`. WebCrypto compares in constant time. */
  async #signerOf(text: Bytes, mac: Bytes): Promise<HmacKey | undefined> {
    for (const key of this.#keys) {
      if (await crypto.subtle.verify('HMAC', key, mac, text)) return key;
    }
    return undefined;
  }
}

function hmacKey(text: string): Promise<HmacKey> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const bytes = new TextEncoder().encode(text);
  return crypto.subtle.importKey('raw', bytes, algorithm, false, ['sign', 'verify']);
}

async function sign(key: HmacKey, text: Bytes): Promise<string> {
  return hexOf(new Uint8Array(await crypto.subtle.sign('HMAC', key, text)));
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A proof that is signed with one of our keys, for our address, and not too old. */
export interface VerifiedProof {
  readonly dialer: string;
  /** Proves to the caller that we have the key too. */
  readonly answer: string;
  /** When the caller made it, in seconds since 1970. */
  readonly seconds: number;
  /**
   * Undefined: a replica of culvert 0.1 made the proof. It is valid for any cluster, and more than
   * once.
   */
  readonly bound:
    | { readonly cluster: string; readonly nonce: string; readonly isGateway: boolean }
    | undefined;
}

/** What a replica sends to another replica, and what the other replica must answer. */
export interface ReplicaProof {
  readonly headers: Readonly<Record<string, string>>;
  readonly answer: string;
}

/** Whether `given` is the answer that only a replica can give. Compares in constant time. */
export function isAnswer(given: string | undefined, { answer }: ReplicaProof): boolean {
  if (given?.length !== answer.length) return false;
  let difference = 0;
  for (let at = 0; at < answer.length; at++) {
    difference |= given.charCodeAt(at) ^ answer.charCodeAt(at);
  }
  return difference === 0;
}

function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name).slice(0, 256);
  } catch {
    return undefined;
  }
}

function answeredText(proof: string): Bytes {
  return new TextEncoder().encode(`culvert replica answers\n${proof}`);
}

function signedText(seconds: number, address: string, dialer: string): Bytes {
  return new TextEncoder().encode(`culvert replica\n${seconds}\n${address}\n${dialer}`);
}
