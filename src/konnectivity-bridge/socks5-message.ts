import { formatHostPort } from '../base/net/host-port.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';

const version = 5;
const passwordVersion = 1;
const connectCommand = 1;

/** Methods of authentication (RFC 1928, section 3). */
export const Socks5Method = { none: 0, password: 2, noneAcceptable: 0xff } as const;
export type Socks5Method = (typeof Socks5Method)[keyof typeof Socks5Method];

/** User and password of a client, as bytes (RFC 1929). */
export interface Socks5Credentials {
  readonly user: string;
  readonly password: string;
}

/** The destination of a request. */
export interface Socks5Request {
  readonly kind: 'ipv4' | 'ipv6' | 'name';
  /** `host:port`, with brackets around an IPv6 address. */
  readonly address: string;
}

/**
 * Reads the messages of a SOCKS 5 client, which may arrive in any number of pieces. Each method
 * returns undefined while its message is incomplete. No message has more than 515 bytes.
 */
export class Socks5Input {
  #bytes: Buffer = Buffer.alloc(0);

  /** Bytes after the messages that were taken. */
  get rest(): Uint8Array {
    return this.#bytes;
  }

  push(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  /**
   * Takes the greeting: the methods that the client offers.
   *
   * @throws KonnectivityError `malformed_request`
   */
  takeMethods(): readonly number[] | undefined {
    const [clientVersion, count] = this.#bytes;
    if (clientVersion !== undefined && clientVersion !== version) {
      throw malformed('the client does not speak SOCKS 5');
    }
    if (count === undefined) return undefined;
    const message = this.#take(2 + count);
    return message && [...message.subarray(2)];
  }

  /** Takes user and password. @throws KonnectivityError `malformed_request` */
  takeCredentials(): Socks5Credentials | undefined {
    const [messageVersion, userBytes] = this.#bytes;
    if (messageVersion !== undefined && messageVersion !== passwordVersion) {
      throw malformed('the version of user and password is not 1');
    }
    if (userBytes === undefined) return undefined;
    const passwordBytes = this.#bytes[2 + userBytes];
    if (passwordBytes === undefined) return undefined;
    const message = this.#take(3 + userBytes + passwordBytes);
    return (
      message && {
        user: message.toString('latin1', 2, 2 + userBytes),
        password: message.toString('latin1', 3 + userBytes),
      }
    );
  }

  /**
   * Takes the request.
   *
   * @throws KonnectivityError `malformed_request`, `unsupported_method`, `invalid_address`
   */
  takeRequest(): Socks5Request | undefined {
    const [requestVersion, command, reserved, type, nameBytes] = this.#bytes;
    if (requestVersion !== undefined && requestVersion !== version) {
      throw malformed('the version of the request is not 5');
    }
    if (command !== undefined && command !== connectCommand) {
      const sentence = `command ${command} is not supported, only CONNECT is`;
      throw new KonnectivityError('unsupported_method', sentence);
    }
    if (reserved !== undefined && reserved !== 0) throw malformed('the reserved byte is not 0');
    switch (type) {
      case undefined:
        return undefined;
      case 1:
        return this.#takeDestination('ipv4', 4, 4);
      case 3:
        return nameBytes === undefined ? undefined : this.#takeDestination('name', 5, nameBytes);
      case 4:
        return this.#takeDestination('ipv6', 4, 16);
      default:
        throw malformed(`the type of address ${type} does not exist`);
    }
  }

  #takeDestination(
    kind: Socks5Request['kind'],
    start: number,
    length: number,
  ): Socks5Request | undefined {
    const message = this.#take(start + length + 2);
    if (message === undefined) return undefined;
    const host = hostOf(kind, message.subarray(start, start + length));
    const address = formatHostPort({ host, port: message.readUInt16BE(start + length) });
    return { kind, address };
  }

  #take(length: number): Buffer | undefined {
    if (this.#bytes.length < length) return undefined;
    const message = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return message;
  }
}

function hostOf(kind: Socks5Request['kind'], bytes: Buffer): string {
  if (kind === 'ipv4') return bytes.join('.');
  if (kind === 'ipv6') {
    const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
    // The URL parser shortens the address.
    return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
  }
  const name = bytes.toString('latin1');
  if (/^[\w.-]+$/.test(name)) return name;
  throw new KonnectivityError(
    'invalid_address',
    'the name in the request has characters that no host name has',
  );
}

/** The answer to the greeting. */
export function methodAnswer(method: Socks5Method): Buffer {
  return Buffer.of(version, method);
}

/** The answer to user and password. */
export function credentialsAnswer(isAccepted: boolean): Buffer {
  return Buffer.of(passwordVersion, isAccepted ? 0 : 1);
}

/** The answer to the request, without a bound address, because the agent does not tell it. */
export function requestAnswer(reply: number): Buffer {
  return Buffer.of(version, reply, 0, 1, 0, 0, 0, 0, 0, 0);
}

function malformed(sentence: string): KonnectivityError {
  return new KonnectivityError('malformed_request', sentence);
}
