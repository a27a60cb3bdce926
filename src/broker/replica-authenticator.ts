import { AuthenticationError, type Authenticator, type Identity } from './authenticator.ts';

/** Names the key that replicas share, on a request that one makes of another. */
export const replicaKeyHeader = 'Culvert-Replica-Key';
/** Names the dialer that the first replica has authenticated. */
export const forwardedDialerHeader = 'Culvert-Dialer';

const maxNameCharacters = 256;

/** Knows the other replicas by the key they share; everybody else is for the next authenticator. */
export class ReplicaAuthenticator implements Authenticator {
  readonly #next: Authenticator;
  readonly #key: string;

  constructor(key: string, next: Authenticator) {
    this.#key = key;
    this.#next = next;
  }

  async authenticate(headers: Headers): Promise<Identity> {
    const key = headers.get(replicaKeyHeader);
    if (key === null) return this.#next.authenticate(headers);
    if (!(await equal(key, this.#key))) {
      throw new AuthenticationError('the key of the replica is not ours');
    }
    const name = (headers.get(forwardedDialerHeader) ?? '').slice(0, maxNameCharacters);
    return { kind: 'replica', name };
  }
}

/** Compares secrets in a time that does not depend on where they differ, nor on their lengths. */
async function equal(a: string, b: string): Promise<boolean> {
  const [left, right] = await Promise.all([digest(a), digest(b)]);
  let difference = 0;
  for (let i = 0; i < left.length; i++) difference |= left[i]! ^ right[i]!;
  return difference === 0;
}

async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
}
