import { KonnectivityError } from './konnectivity-error.ts';
import { type Packet, PacketField, PacketType } from './packet.ts';
import { ProtoReader, WireType } from './protobuf.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes one whole packet. Fields may come in any order, and unknown fields are skipped. A payload
 * is a view into `bytes`.
 *
 * @throws KonnectivityError `malformed_packet`
 */
export function decodePacket(bytes: Uint8Array): Packet {
  const reader = new ProtoReader(bytes);
  let type = 0;
  let payloadField = 0;
  let fields = new PayloadFields();
  while (reader.more) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === PacketField.type && wireType === WireType.varint) {
      type = reader.varint();
    } else if (
      wireType === WireType.bytes &&
      number >= PacketField.dialRequest &&
      number <= PacketField.drain
    ) {
      // A oneof: the last member counts, and the same member twice is merged.
      if (number !== payloadField) fields = new PayloadFields();
      payloadField = number;
      fields.read(number, reader.bytes());
    } else {
      checkFieldNumber(number);
      reader.skip(wireType);
    }
  }
  return fields.toPacket(type, payloadField);
}

class PayloadFields {
  #network = '';
  #address = '';
  #error = '';
  #random = 0n;
  #connectId = 0;
  #payload: Uint8Array = new Uint8Array(0);

  read(member: number, bytes: Uint8Array): void {
    const reader = new ProtoReader(bytes);
    while (reader.more) {
      const tag = reader.varint();
      if (!this.#readField(member, tag, reader)) {
        checkFieldNumber(Math.floor(tag / 8));
        reader.skip(tag % 8);
      }
    }
  }

  /**
   * A packet whose payload does not match its type has the defaults of its type, as in every
   * protobuf library.
   */
  toPacket(type: number, member: number): Packet {
    const given = member === payloadFieldOf(type) ? this : new PayloadFields();
    switch (type) {
      case PacketType.dialRequest:
        return {
          kind: 'dial_request',
          network: given.#network,
          address: given.#address,
          random: given.#random,
        };
      case PacketType.data:
        return { kind: 'data', connectId: given.#connectId, payload: given.#payload };
      case PacketType.closeRequest:
        return { kind: 'close_request', connectId: given.#connectId };
      case PacketType.dialClose:
        return { kind: 'dial_close', random: given.#random };
      case PacketType.dialResponse:
        return {
          kind: 'dial_response',
          error: given.#error,
          connectId: given.#connectId,
          random: given.#random,
        };
      case PacketType.closeResponse:
        return { kind: 'close_response', error: given.#error, connectId: given.#connectId };
      case PacketType.drain:
        return { kind: 'drain' };
      default:
        return { kind: 'other' };
    }
  }

  #readField(member: number, tag: number, reader: ProtoReader): boolean {
    const isVarint = tag % 8 === WireType.varint;
    const isBytes = tag % 8 === WireType.bytes;
    const number = Math.floor(tag / 8);
    if (member === PacketField.dialRequest) {
      if (isBytes && number === 1) this.#network = decodeText(reader.bytes());
      else if (isBytes && number === 2) this.#address = decodeText(reader.bytes());
      else if (isVarint && number === 3) this.#random = reader.varint64();
      else return false;
    } else if (member === PacketField.data) {
      if (isVarint && number === 1) this.#connectId = checkConnectId(reader.varint());
      else if (isBytes && number === 3) this.#payload = reader.bytes();
      else return false;
    } else if (member === PacketField.closeRequest) {
      if (isVarint && number === 1) this.#connectId = checkConnectId(reader.varint());
      else return false;
    } else if (member === PacketField.closeDial) {
      if (isVarint && number === 1) this.#random = reader.varint64();
      else return false;
    } else if (member === PacketField.dialResponse) {
      if (isVarint && number === 3) this.#random = reader.varint64();
      else return this.#readAnswerField(number, { isVarint, isBytes }, reader);
    } else if (member === PacketField.closeResponse) {
      return this.#readAnswerField(number, { isVarint, isBytes }, reader);
    } else {
      return false;
    }
    return true;
  }

  /** The fields that DIAL_RSP and CLOSE_RSP have in common. */
  #readAnswerField(
    number: number,
    { isVarint, isBytes }: { readonly isVarint: boolean; readonly isBytes: boolean },
    reader: ProtoReader,
  ): boolean {
    if (isBytes && number === 1) this.#error = decodeText(reader.bytes());
    else if (isVarint && number === 2) this.#connectId = checkConnectId(reader.varint());
    else return false;
    return true;
  }
}

function payloadFieldOf(type: number): number {
  switch (type) {
    case PacketType.dialRequest:
      return PacketField.dialRequest;
    case PacketType.data:
      return PacketField.data;
    case PacketType.closeRequest:
      return PacketField.closeRequest;
    case PacketType.dialClose:
      return PacketField.closeDial;
    case PacketType.dialResponse:
      return PacketField.dialResponse;
    case PacketType.closeResponse:
      return PacketField.closeResponse;
    default:
      return 0;
  }
}

function checkFieldNumber(number: number): void {
  if (number === 0)
    throw new KonnectivityError('malformed_packet', 'a packet has a field with number 0');
}

/** Ids are counted up from 1, so an id that a number cannot hold exactly was never assigned. */
export function checkConnectId(id: number): number {
  if (Number.isSafeInteger(id)) return id;
  throw new KonnectivityError(
    'malformed_packet',
    `connect id ${id} is larger than any assigned id`,
  );
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    throw new KonnectivityError('malformed_packet', 'a string in a packet is not UTF-8', {
      cause: error,
    });
  }
}
