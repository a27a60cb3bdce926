import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net';

/** The server's answer for a name. */
export interface DnsRecord {
  readonly addresses?: readonly string[];
  /** Questions for these families get no answer. */
  readonly silent?: readonly (4 | 6)[];
  /** SERVFAIL (2), NXDOMAIN (3), REFUSED (5). */
  readonly rcode?: number;
  /** Over UDP the answer is empty and marked as truncated. */
  readonly truncated?: boolean;
}

const types: Readonly<Record<number, 4 | 6>> = { 1: 4, 28: 6 };

/** A DNS server on loopback, over UDP and TCP. Names that it does not know do not exist. */
export class DnsServer implements AsyncDisposable {
  /** By name in lower case; may be changed at any time. */
  readonly records: Map<string, DnsRecord>;
  /** Every question, as `name A` or `name AAAA`, with `/tcp` after those over TCP. */
  readonly questions: string[] = [];
  readonly #udp = createSocket('udp4');
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();

  private constructor(records: Readonly<Record<string, DnsRecord>>) {
    this.records = new Map(Object.entries(records));
    this.#udp.on('message', (message, from) => this.#onDatagram(message, from));
    this.#tcp = createServer((socket) => {
      this.#connections.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#connections.delete(socket));
      let unread = Buffer.alloc(0);
      socket.on('data', (bytes) => {
        unread = Buffer.concat([unread, bytes]);
        while (unread.length > 2 && unread.length >= 2 + unread.readUInt16BE(0)) {
          const end = 2 + unread.readUInt16BE(0);
          const answer = this.#answer(unread.subarray(2, end), true);
          unread = unread.subarray(end);
          if (answer === undefined) continue;
          const length = Buffer.alloc(2);
          length.writeUInt16BE(answer.length);
          socket.write(Buffer.concat([length, answer]));
        }
      });
    });
  }

  /** @param port 53 where the one who asks knows no other one */
  static async start(
    records: Readonly<Record<string, DnsRecord>>,
    { host = '127.0.0.1', port = 0 } = {},
  ): Promise<DnsServer> {
    const server = new DnsServer(records);
    server.#tcp.listen(port, host);
    await once(server.#tcp, 'listening');
    server.#udp.bind(server.port, host);
    await once(server.#udp, 'listening');
    return server;
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  /** `address:port`, as the resolver's configuration takes it. */
  get address(): string {
    const { address, port } = this.#tcp.address() as AddressInfo;
    return `${address}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    this.#udp.close();
    this.#tcp.close();
    await once(this.#tcp, 'close');
  }

  #onDatagram(message: Buffer, from: RemoteInfo): void {
    const answer = this.#answer(message, false);
    if (answer !== undefined) this.#udp.send(answer, from.port, from.address);
  }

  #answer(question: Buffer, isTcp: boolean): Buffer | undefined {
    const { name, type, end } = readQuestion(question);
    const family = types[type];
    this.questions.push(`${name} ${family === 4 ? 'A' : 'AAAA'}${isTcp ? '/tcp' : ''}`);
    const record = this.records.get(name) ?? { rcode: 3 };
    if (family === undefined || record.silent?.includes(family)) return undefined;
    const isCut = record.truncated === true && !isTcp;
    const addresses = (record.addresses ?? []).filter((address) => isIP(address) === family);
    const answers = isCut ? [] : addresses.map((address) => resource(type, address));
    const header = Buffer.alloc(12);
    question.copy(header, 0, 0, 2);
    // A response with recursion, and perhaps TC.
    header.writeUInt16BE(0x8180 | (isCut ? 0x0200 : 0) | (record.rcode ?? 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    return Buffer.concat([header, question.subarray(12, end), ...answers]);
  }
}

function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (message[at] !== 0) {
    const length = message[at]!;
    labels.push(message.toString('latin1', at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  return { name: labels.join('.'), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function resource(type: number, address: string): Buffer {
  const data = isIP(address) === 4 ? ipv4Bytes(address) : ipv6Bytes(address);
  const head = Buffer.alloc(12);
  // The name is the question's.
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(5, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function ipv6Bytes(address: string): Buffer {
  const mapped = /^::ffff:([\d.]+)$/.exec(address)?.[1];
  if (mapped !== undefined) {
    return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), ipv4Bytes(mapped)]);
  }
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const hex = [...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join('');
  return Buffer.from(hex, 'hex');
}
