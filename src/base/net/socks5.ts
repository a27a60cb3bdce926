import { isIP, type Socket } from 'node:net';
import { describeError } from '../error.ts';
import { formatHostPort, type HostPort } from './host-port.ts';
import type { ProxyCredentials } from './proxy.ts';
import { RouteError } from './route-error.ts';
import { untilSocket } from './until-socket.ts';

const version = 5;
const authenticationVersion = 1;
const methods = { none: 0x00, password: 0x02, noneAcceptable: 0xff } as const;
const connectCommand = 1;
const addressTypes = { ipv4: 1, name: 3, ipv6: 4 } as const;
const maxNameBytes = 255;

/** The text and the next step for each reply code (RFC 1928, section 6). */
const refusals: Readonly<Record<number, string>> = {
  1: "general failure; see the proxy's log",
  2: 'not allowed by its rules; have it allow this destination and port',
  3: 'network unreachable; check the routes of the proxy',
  4: 'host unreachable; check that the proxy can resolve and reach this host',
  5: 'connection refused; check the port, and that the server runs',
  6: 'TTL expired; check the routes of the proxy',
  7: 'CONNECT is not supported; use another proxy',
  8: 'this type of address is not supported; use socks5h:// so that the proxy resolves names, or a name with an IPv4 address',
};

export interface SocksRequest {
  /** Names the proxy in messages. */
  readonly what: string;
  readonly credentials: ProxyCredentials | undefined;
  /** An address, or a name that the proxy resolves. */
  readonly destination: HostPort;
  readonly signal: AbortSignal;
}

/**
 * Asks a SOCKS 5 proxy to connect (RFC 1928). Sends user and password if the proxy requires them
 * (RFC 1929).
 *
 * @throws RouteError `proxy`; or the signal's reason
 */
export async function askSocksToConnect(socket: Socket, request: SocksRequest): Promise<void> {
  const { what, destination, signal } = request;
  const target = formatHostPort(destination);
  try {
    await authenticate(socket, request);
    socket.write(connectRequest(destination));
    const [answeredVersion, reply = 0, , addressType = 0] = await read(socket, 4, signal);
    if (answeredVersion !== version) throw notSocks(what);
    if (reply !== 0) {
      const reason = refusals[reply] ?? `unknown reply code ${reply}; see the proxy's log`;
      throw new RouteError('proxy', `${what} did not connect to ${target}: ${reason}`);
    }
    await skipBoundAddress(socket, addressType, request);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof RouteError) throw cause;
    const message = `${what} gave no proper answer for ${target} (${describeError(cause)}); is it a SOCKS 5 proxy?`;
    throw new RouteError('proxy', message, { cause });
  }
  // No byte may follow the reply, because the server behind the tunnel waits for the client's first
  // bytes.
  if (socket.readableLength > 0) {
    throw new RouteError('proxy', `${what} sent more than its answer for ${target}`);
  }
}

async function authenticate(
  socket: Socket,
  { what, credentials, signal }: SocksRequest,
): Promise<void> {
  const offered = credentials === undefined ? [methods.none] : [methods.none, methods.password];
  socket.write(Uint8Array.of(version, offered.length, ...offered));
  const [answeredVersion, method] = await read(socket, 2, signal);
  if (answeredVersion !== version) throw notSocks(what);
  if (method === methods.none) return;
  if (method === methods.noneAcceptable || credentials === undefined) {
    const advice =
      credentials === undefined
        ? "put user and password into the proxy's URL"
        : 'only user and password (RFC 1929) are supported, have the proxy accept them';
    throw new RouteError('proxy', `${what} wants another authentication; ${advice}`);
  }
  if (method !== methods.password) throw notSocks(what);
  const user = Buffer.from(credentials.user);
  const password = Buffer.from(credentials.password.reveal());
  const message = [authenticationVersion, user.length, ...user, password.length, ...password];
  socket.write(Uint8Array.from(message));
  const [, status] = await read(socket, 2, signal);
  if (status === 0) return;
  throw new RouteError(
    'proxy',
    `${what} did not accept the user and password in the proxy's URL, correct them`,
  );
}

function connectRequest({ host, port }: HostPort): Uint8Array {
  return Uint8Array.from([version, connectCommand, 0, ...addressOf(host), port >> 8, port & 0xff]);
}

function addressOf(host: string): number[] {
  switch (isIP(host)) {
    case 4:
      return [addressTypes.ipv4, ...host.split('.').map(Number)];
    case 6:
      return [addressTypes.ipv6, ...ipv6Bytes(host)];
    default: {
      const name = Buffer.from(host);
      if (name.length > maxNameBytes) {
        const message = `the name ${host.slice(0, 40)}… has more than ${maxNameBytes} bytes, which SOCKS 5 cannot send`;
        throw new RouteError('proxy', message);
      }
      return [addressTypes.name, name.length, ...name];
    }
  }
}

function ipv6Bytes(address: string): number[] {
  // The URL parser converts every spelling, including IPv4 tails, to groups of hex digits.
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = groups.split('::');
  const numbers = (text: string) =>
    text === '' ? [] : text.split(':').map((hex) => parseInt(hex, 16));
  const before = numbers(head);
  const after = tail === undefined ? [] : numbers(tail);
  const zeros = Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]);
}

/** Skips the address from which the proxy connects, because nothing depends on it. */
async function skipBoundAddress(
  socket: Socket,
  type: number,
  { what, signal }: SocksRequest,
): Promise<void> {
  if (type === addressTypes.ipv4) await read(socket, 4 + 2, signal);
  else if (type === addressTypes.ipv6) await read(socket, 16 + 2, signal);
  else if (type === addressTypes.name) {
    const [length = 0] = await read(socket, 1, signal);
    await read(socket, length + 2, signal);
  } else throw notSocks(what);
}

function notSocks(what: string): RouteError {
  return new RouteError(
    'proxy',
    `what answers as ${what} does not speak SOCKS 5; check its scheme and port`,
  );
}

/** Reads exactly `count` bytes, leaves the following bytes unread and pauses the socket. */
function read(socket: Socket, count: number, signal: AbortSignal): Promise<Uint8Array> {
  let received: Buffer = Buffer.alloc(0);
  return untilSocket(socket, signal, (resolve, reject) => {
    const onData = (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < count) return;
      socket.pause();
      if (received.length > count) socket.unshift(received.subarray(count));
      resolve(received.subarray(0, count));
    };
    const onEnd = () => reject(new Error('the proxy ended the connection'));
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.resume();
    return () => {
      socket.off('data', onData);
      socket.off('end', onEnd);
    };
  });
}
