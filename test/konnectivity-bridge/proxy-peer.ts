import { credentials, type StatusObject } from '@grpc/grpc-js';
import {
  type ProxyCall,
  ProxyService,
  type ProxyServiceClient,
  type RequestPacket,
  type ResponsePacket,
} from '../../src/konnectivity-client/proxy-service.ts';

/**
 * grpc-js as an independent client that sends what the test says, packet by packet. One HTTP/2
 * connection.
 */
export class ProxyPeer implements Disposable {
  readonly service: ProxyServiceClient;

  constructor(address: string, tls?: { ca: Buffer; cert?: Buffer; key?: Buffer }) {
    this.service = new ProxyService(
      address.startsWith('/') ? `unix:${address}` : address,
      tls ? credentials.createSsl(tls.ca, tls.key, tls.cert) : credentials.createInsecure(),
      {
        ...(tls && { 'grpc.ssl_target_name_override': 'localhost' }),
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_http_proxy': 0,
        'grpc.enable_retries': 0,
      },
    );
  }

  call(): PeerCall {
    return new PeerCall(this.service.Proxy());
  }

  [Symbol.dispose](): void {
    this.service.close();
  }
}

type Answer<T extends ResponsePacket['type']> = Extract<ResponsePacket, { type: T }>;

export class PeerCall {
  readonly grpc: ProxyCall;
  /** Packets that came and were not asked for yet. */
  readonly packets: ResponsePacket[] = [];
  readonly status: Promise<StatusObject>;
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(grpc: ProxyCall) {
    this.grpc = grpc;
    grpc.on('data', (packet: ResponsePacket) => {
      this.packets.push(packet);
      this.#wake?.();
    });
    // Is in the status as well.
    grpc.on('error', () => {});
    this.status = new Promise((resolve) => {
      grpc.on('status', (status: StatusObject) => {
        this.#isOver = true;
        this.#wake?.();
        resolve(status);
      });
    });
  }

  send(packet: RequestPacket): void {
    this.grpc.write(packet);
  }

  dial(address: string, random = '1'): void {
    this.send({ type: 'DIAL_REQ', dialRequest: { protocol: 'tcp', address, random } });
  }

  data(connectID: string, data: Uint8Array | string): void {
    this.send({ type: 'DATA', data: { connectID, data: Buffer.from(data) } });
  }

  close(connectID: string): void {
    this.send({ type: 'CLOSE_REQ', closeRequest: { connectID } });
  }

  /** The next packet; throws when the call ends without one. */
  async next(): Promise<ResponsePacket> {
    while (this.packets.length === 0) {
      if (this.#isOver) throw new Error('the call has ended');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.packets.shift()!;
  }

  async expect<T extends ResponsePacket['type']>(type: T): Promise<Answer<T>> {
    const packet = await this.next();
    if (packet.type !== type) throw new Error(`got ${JSON.stringify(packet)}, not ${type}`);
    return packet as Answer<T>;
  }

  /** Waits for a DIAL_RSP without error; returns the connect id. */
  async opened(): Promise<string> {
    const { dialResponse } = await this.expect('DIAL_RSP');
    if (dialResponse.error !== '') throw new Error(dialResponse.error);
    return dialResponse.connectID;
  }

  /** All that comes as DATA, until `bytes` of it are there. */
  async read(bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      const { data } = await this.expect('DATA');
      pieces.push(data.data);
      left -= data.data.length;
    }
    return Buffer.concat(pieces);
  }
}
