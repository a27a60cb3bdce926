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

// The runtimes name the type of a WebCrypto key differently.
type HmacKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/** The key that the replicas of one deployment share. It never travels: who has it signs for one address, for a minute. */
export class ReplicaKey {
  readonly #key: HmacKey;
  readonly #nowS: () => number;

  private constructor(key: HmacKey, nowS: () => number) {
    this.#key = key;
    this.#nowS = nowS;
  }

  static async fromText(
    text: string,
    nowS = () => Math.floor(Date.now() / 1000),
  ): Promise<ReplicaKey> {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const bytes = new TextEncoder().encode(text);
    const key = await crypto.subtle.importKey('raw', bytes, algorithm, false, ['sign', 'verify']);
    return new ReplicaKey(key, nowS);
  }

  /** What a request to the replica at `address` on behalf of `dialer` shows, and what only another replica answers to it. */
  async prove(address: string, dialer: string): Promise<ReplicaProof> {
    const seconds = this.#nowS();
    const proof = `${seconds} ${await this.#sign(signedText(seconds, address, dialer))}`;
    return {
      headers: { [proofHeader]: proof, [dialerHeader]: encodeURIComponent(dialer) },
      answer: await this.#sign(answeredText(proof)),
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
    // WebCrypto compares in constant time.
    const text = signedText(seconds, address, dialer);
    if (!(await crypto.subtle.verify('HMAC', this.#key, mac, text))) {
      throw new AuthenticationError(
        'the key of the replica is not ours, or it means another replica',
      );
    }
    if (Math.abs(this.#nowS() - seconds) > proofAgeS) {
      throw new AuthenticationError(
        'the proof of the replica is too old, or the clocks differ by a minute',
      );
    }
    return { dialer, answer: await this.#sign(answeredText(proof)) };
  }

  async #sign(text: Uint8Array<ArrayBuffer>): Promise<string> {
    const mac = new Uint8Array(await crypto.subtle.sign('HMAC', this.#key, text));
    return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
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

function answeredText(proof: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`culvert replica answers\n${proof}`);
}

function signedText(seconds: number, address: string, dialer: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`culvert replica\n${seconds}\n${address}\n${dialer}`);
}

/** Knows the other replicas by the key they share; everybody else is for the next authenticator. */
export class ReplicaAuthenticator implements Authenticator {
  readonly #key: ReplicaKey;
  readonly #address: string;
  readonly #next: Authenticator;

  /** @param address where other replicas reach this one, as they have it from the directory */
  constructor(key: ReplicaKey, address: string, next: Authenticator) {
    this.#key = key;
    this.#address = address;
    this.#next = next;
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const proven = await this.#key.verify(headers, this.#address);
    if (proven === undefined) return this.#next.authenticate(headers, peer);
    return { kind: 'replica', name: proven.dialer, answer: proven.answer };
  }
}
