import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { type Proxy, parseProxyUrl } from '../../src/base/net/proxy.ts';

/** A SOCKS 5 server on loopback (RFC 1928, RFC 1929) that only knows CONNECT. */
export interface SocksProxy extends AsyncDisposable {
  readonly port: number;
  /** Resolves names at the proxy; with the user and password that it accepts. */
  readonly proxy: Proxy;
  /** The same, for a variable of the environment. */
  readonly url: string;
  /** The requested destinations: `name example:443`, `ipv4 10.0.0.1:443`, `ipv6 fd00::1:443`. */
  readonly asked: readonly string[];
}

export interface SocksProxyOptions {
  /** Wanted from clients (default: none). */
  readonly credentials?: { readonly user: string; readonly password: string };
  /** The reply code to a request for this host (default: 0, and the connection is made). */
  readonly reply?: (host: string) => number;
  /** Where names lead to, instead of the system's resolver (default: 127.0.0.1). */
  readonly resolvesTo?: string;
  /** Bytes that replace the answer to the greeting. */
  readonly greeting?: Uint8Array | string;
  /** Written after the reply, as no proxy does. */
  readonly afterReply?: string;
}

export async function startSocksProxy(options: SocksProxyOptions = {}): Promise<SocksProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    serve(socket, options, asked).catch(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { user, password } = options.credentials ?? {};
  const userinfo = user === undefined ? '' : `${user}:${encodeURIComponent(password!)}@`;
  const url = `socks5h://${userinfo}127.0.0.1:${port}`;
  return {
    port,
    url,
    proxy: parseProxyUrl(url),
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function serve(socket: Socket, options: SocksProxyOptions, asked: string[]): Promise<void> {
  const { credentials, reply = () => 0, resolvesTo = '127.0.0.1' } = options;
  const read = reader(socket);
  const [, count] = await read(2);
  const methods = [...(await read(count!))];
  if (options.greeting !== undefined) return void socket.end(options.greeting);
  const wanted = credentials === undefined ? 0 : 2;
  if (!methods.includes(wanted)) return void socket.end(Uint8Array.of(5, 0xff));
  // One byte at a time: a client must not count on whole messages.
  for (const byte of [5, wanted]) socket.write(Uint8Array.of(byte));
  if (credentials !== undefined) {
    const [, userLength] = await read(2);
    const user = (await read(userLength!)).toString();
    const [passwordLength] = await read(1);
    const password = (await read(passwordLength!)).toString();
    const isRight = user === credentials.user && password === credentials.password;
    socket.write(Uint8Array.of(1, isRight ? 0 : 1));
    if (!isRight) return void socket.end();
  }
  const [, , , type] = await read(4);
  const host = await readHost(read, type!);
  const port = (await read(2)).readUInt16BE();
  asked.push(`${['', 'ipv4', '', 'name', 'ipv6'][type!]} ${host}:${port}`);
  const code = reply(host);
  const answer = Uint8Array.of(5, code, 0, 3, 2, 0x61, 0x62, 0, 80);
  if (code !== 0) return void socket.end(answer);
  const onward = connect(port, type === 3 ? resolvesTo : host, () => {
    socket.write(Buffer.concat([answer, Buffer.from(options.afterReply ?? '')]));
    socket.pipe(onward).pipe(socket);
  });
  onward.on('error', () => socket.destroy());
  socket.on('close', () => onward.destroy());
}

type Read = (count: number) => Promise<Buffer>;

async function readHost(read: Read, type: number): Promise<string> {
  if (type === 1) return [...(await read(4))].join('.');
  if (type === 3) return (await read((await read(1))[0]!)).toString();
  const groups = (await read(16)).toString('hex').match(/.{4}/g)!;
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function reader(socket: Socket): Read {
  return async (count) => {
    for (;;) {
      const bytes: Buffer | null = count === 0 ? Buffer.alloc(0) : socket.read(count);
      if (bytes !== null && bytes.length === count) return bytes;
      if (socket.readableEnded || socket.destroyed) throw new Error('the client is gone');
      await once(socket, 'readable');
    }
  };
}
