import { type Packet, PacketType } from './packet.ts';

export type PacketTypeNumber = (typeof PacketType)[keyof typeof PacketType];

/** The names of upstream's protocol, at the numbers of `PacketType`. */
const typeNames = [
  ...(['DIAL_REQ', 'DIAL_RSP', 'CLOSE_REQ', 'CLOSE_RSP'] as const),
  ...(['DATA', 'DIAL_CLS', 'DRAIN'] as const),
];

const typeOfKind = {
  dial_request: PacketType.dialRequest,
  dial_response: PacketType.dialResponse,
  close_request: PacketType.closeRequest,
  close_response: PacketType.closeResponse,
  data: PacketType.data,
  dial_close: PacketType.dialClose,
  drain: PacketType.drain,
} as const;

/** Counts packets of one direction by type. Counting allocates nothing. */
export class PacketCounter {
  readonly #counts = new Float64Array(typeNames.length);

  add(type: PacketTypeNumber): void {
    this.#counts[type]! += 1;
  }

  /** Types of a later protocol have no name, so they are not counted. */
  addKind(kind: Packet['kind']): void {
    if (kind !== 'other') this.add(typeOfKind[kind]);
  }

  /** The types that were counted, with their counts. */
  *entries(): Iterable<readonly [string, number]> {
    for (const [type, name] of typeNames.entries()) {
      const count = this.#counts[type]!;
      if (count > 0) yield [name, count];
    }
  }
}

/** The packets of a process. A segment is a direction on one side of the server. */
export class PacketCounts {
  readonly fromClient = new PacketCounter();
  readonly toClient = new PacketCounter();
  readonly fromAgent = new PacketCounter();
  readonly toAgent = new PacketCounter();

  /** Counts by upstream's names of segment and packet type. */
  *entries(): Iterable<readonly [segment: string, packetType: string, count: number]> {
    const segments = [
      ['from_client', this.fromClient],
      ['to_client', this.toClient],
      ['from_agent', this.fromAgent],
      ['to_agent', this.toAgent],
    ] as const;
    for (const [segment, counter] of segments) {
      for (const [type, count] of counter.entries()) yield [segment, type, count];
    }
  }
}
