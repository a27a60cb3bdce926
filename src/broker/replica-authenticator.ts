import {
  AuthenticationError,
  type Authenticator,
  type Identity,
  type Peer,
  proofHeader,
} from './authenticator.ts';

/** The dialer that the first replica has authenticated. */
const dialerHeader = 'Culvert-Dialer';

/** A proof is good for this long before and after it was made, in seconds. */
const proofAgeS = 60;

const minKeyLength = 16;

// The runtimes name the type of a WebCrypto key differently.
type HmacKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;
type Bytes = Uint8Array<ArrayBuffer>;

/**
 * The keys that the replicas of one deployment share: the first signs, each is accepted. They never travel: who has one signs for
 * one address, for a minute.
 */
export class ReplicaKeys {
  readonly #keys: readonly [HmacKey, ...HmacKey[]];
  readonly #nowS: () => number;

  private constructor(keys: readonly [HmacKey, ...HmacKey[]], nowS: () => number) {
    this.#keys = keys;
    this.#nowS = nowS;
  }

  /**
   * @param text a key on each line; empty lines and white space around a key do not count
   * @throws Error there is no key, or one that could be guessed
   */
  static async fromText(
    text: string,
    nowS = () => Math.floor(Date.now() / 1000),
  ): Promise<ReplicaKeys> {
    const lines = text.split('\n').map((line) => line.trim());
    const keys = lines.filter((line) => line !== '');
    // Each line counts: neither the frame of a PEM file nor the short rest of a wrapped key may open anything.
    if (keys.some((key) => key.length < minKeyLength || key.startsWith('-----'))) {
      const message = `a line of the keys of the replicas has fewer than ${minKeyLength} characters or is PEM; make a key with openssl rand -hex 32`;
      throw new Error(message);
    }
    const [first, ...others] = await Promise.all(keys.map(hmacKey));
    if (first === undefined) throw new Error('there is no key of the replicas in it');
    return new ReplicaKeys([first, ...others], nowS);
  }

  /** What a request to the replica at `address` on behalf of `dialer` shows, and what only another replica answers to it. */
  async prove(address: string, dialer: string): Promise<ReplicaProof> {
    const seconds = this.#nowS();
    const [key] = this.#keys;
    const proof = `${seconds} ${await sign(key, signedText(seconds, address, dialer))}`;
    return {
      headers: { [proofHeader]: proof, [dialerHeader]: encodeURIComponent(dialer) },
      answer: await sign(key, answeredText(proof)),
    };
  }

  /** Who the request to us, at `address`, is made for, and our answer; undefined where it is not from a replica. */
  async verify(
    headers: Headers,
    address: string,
  ): Promise<{ readonly dialer: string; readonly answer: string } | undefined> {
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
    return { dialer, answer: await sign(key, answeredText(proof)) };
  }

  /** The one of our keys that `mac` was made with; WebCrypto compares in constant time. */
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
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', key, text));
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a replica shows to another, and what the other one has to answer. */
export interface ReplicaProof {
  readonly headers: Readonly<Record<string, string>>;
  readonly answer: string;
}

/** Whether the answer is the one that only a replica can give; in constant time. */
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

/** Knows the other replicas by the keys they share; everybody else is for the next authenticator. */
export class ReplicaAuthenticator implements Authenticator {
  readonly #keys: () => ReplicaKeys;
  readonly #address: string;
  readonly #next: Authenticator;

  /**
   * @param keys those of the moment
   * @param address where other replicas reach this one, as they have it from the directory
   */
  constructor(keys: () => ReplicaKeys, address: string, next: Authenticator) {
    this.#keys = keys;
    this.#address = address;
    this.#next = next;
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const proven = await this.#keys().verify(headers, this.#address);
    if (proven === undefined) return this.#next.authenticate(headers, peer);
    return { kind: 'replica', name: proven.dialer, answer: proven.answer };
  }
}
