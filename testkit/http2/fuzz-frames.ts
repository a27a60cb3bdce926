import type { Random } from '../chaos/random.ts';
import {
  clientPreface,
  data,
  frame,
  frameFlags,
  frameTypes,
  goaway,
  headers,
  ping,
  reset,
  settingIds,
  settings,
  settingsAck,
  windowUpdate,
} from './frames.ts';
import { addedField, callHead, indexedField, plainField, tableSize } from './hpack-bytes.ts';

/** What a client sends in a conversation, a frame each. The preface is a piece, too. */
export type Conversation = Buffer[];

interface ClientStream {
  readonly id: number;
  isEnded: boolean;
  isReset: boolean;
}

/** More than any DATA of a conversation, so that a valid client never exceeds a window. */
const maxDataBytes = 4000;

/** A valid conversation of `length` frames, as a gRPC client could have it. */
export function validConversation(random: Random, length: number): Conversation {
  const streams: ClientStream[] = [];
  const frames: Conversation = [clientPreface, randomSettings(random)];
  let nextId = 1;
  const open = (): void => {
    const stream = { id: nextId, isEnded: random.chance(0.2), isReset: false };
    nextId += 2 * random.integer(1, 3);
    streams.push(stream);
    frames.push(...head(random, stream.id, stream.isEnded ? frameFlags.endStream : 0));
  };
  const openStream = (): ClientStream | undefined => {
    const live = streams.filter(({ isEnded, isReset }) => !isEnded && !isReset);
    return live.length === 0 ? undefined : random.pick(live);
  };
  const actions: (() => void)[] = [
    open,
    open,
    () => {
      const stream = openStream();
      if (stream === undefined) return open();
      const flags = random.chance(0.2) ? frameFlags.endStream : 0;
      if (flags !== 0) stream.isEnded = true;
      frames.push(randomData(random, stream.id, flags));
    },
    () => {
      const stream = openStream();
      if (stream === undefined) return open();
      stream.isEnded = true;
      frames.push(headers(stream.id, plainField('grpc-trailer', 'x'), frameFlags.endStream));
    },
    () => {
      const stream = openStream();
      if (stream === undefined) return open();
      stream.isReset = true;
      frames.push(reset(stream.id, random.pick([0, 1, 2, 5, 8])));
    },
    () => {
      const stream = random.chance(0.3) ? undefined : openStream();
      frames.push(windowUpdate(stream?.id ?? 0, random.integer(1, 100_000)));
    },
    () => frames.push(random.chance(0.5) ? ping() : ping(bytesOf(random, 8))),
    () => frames.push(random.chance(0.5) ? settingsAck : randomSettings(random)),
    () =>
      frames.push(
        frame(random.integer(0x10, 0xff), random.integer(0, 255), 0, bytesOf(random, 20)),
      ),
    () => frames.push(frame(frameTypes.priority, 0, nextId + 2, Buffer.of(0, 0, 0, 0, 16))),
    () => random.chance(0.1) && frames.push(goaway()),
  ];
  while (frames.length < length) random.pick(actions)();
  return frames;
}

/** Damages a conversation in a few ways at once. */
export function mutate(random: Random, conversation: Conversation): Conversation {
  const frames = [...conversation];
  for (let times = random.integer(1, 4); times > 0; times--) {
    // The preface is changed rarely, because nothing is read after a wrong one.
    const at = random.integer(random.chance(0.05) ? 0 : 1, Math.max(1, frames.length - 1));
    // A frame may have been cut to nothing.
    const changed = Buffer.concat(
      [frames[at] ?? Buffer.alloc(0)],
      Math.max(9, frames[at]?.length ?? 0),
    );
    frames[at] = changed;
    random.pick<() => void>([
      // A bit anywhere, the type, the flags, the stream, the length, a byte of the payload.
      () => (changed[random.integer(0, changed.length - 1)]! ^= 1 << random.integer(0, 7)),
      () => (changed[3] = random.integer(0, 10)),
      () => (changed[4] = random.integer(0, 255)),
      () => changed.writeUInt32BE(random.pick([0, 1, 2, 3, 5, 7, 99, 0x7fff_ffff, 0xffff_ffff]), 5),
      () => changed.writeUIntBE(random.pick([0, 1, 4, 8, 16_384, 16_385, 0xff_ffff]), 0, 3),
      () =>
        changed.length > 9 &&
        (changed[random.integer(9, changed.length - 1)] = random.integer(0, 255)),
      // A shorter payload with the right length, and one that is cut off.
      () => {
        const payload = changed.subarray(9, 9 + random.integer(0, Math.max(0, changed.length - 9)));
        frames[at] = frame(changed[3]!, changed[4]!, changed.readUInt32BE(5), payload);
      },
      () => (frames[at] = changed.subarray(0, random.integer(0, changed.length))),
      // Other frames, or the same ones in another order or number.
      () => frames.splice(at, 1),
      () => frames.splice(at, 0, ...Array<Buffer>(random.integer(1, 5)).fill(changed)),
      () => frames.splice(at, 1, frames[Math.max(1, at - 1)]!),
      () => frames.splice(at, 0, random.pick(frames)),
      () => frames.splice(at, 0, bytesOf(random, random.integer(1, 30))),
      () => frames.splice(at, 0, windowUpdate(random.integer(0, 9), random.pick([0, 0x7fff_ffff]))),
      () =>
        frames.splice(
          at,
          0,
          frame(frameTypes.continuation, random.pick([0, 4]), random.integer(0, 5)),
        ),
      () =>
        frames.splice(
          at,
          0,
          frame(
            frameTypes.headers,
            random.integer(0, 63),
            random.integer(0, 9),
            bytesOf(random, 40),
          ),
        ),
    ])();
    if (frames.length === 0) frames.push(clientPreface);
  }
  return frames;
}

function head(random: Random, stream: number, flags: number): Buffer[] {
  const block = Buffer.concat([
    ...(random.chance(0.1) ? [tableSize(random.integer(1000, 4096))] : []),
    callHead,
    ...(random.chance(0.3)
      ? [
          addedField(`x-${random.integer(0, 9)}`, 'v'.repeat(random.integer(0, 300))),
          indexedField(62),
        ]
      : []),
  ]);
  if (random.chance(0.8)) return [headers(stream, block, flags)];
  if (random.chance(0.5)) {
    const padding = random.integer(0, 255);
    const parts = [Buffer.of(padding, 0, 0, 0, 0, 16), block, Buffer.alloc(padding)];
    const more = frameFlags.padded | frameFlags.priority;
    return [headers(stream, Buffer.concat(parts), flags | more)];
  }
  const cut = random.integer(0, block.length);
  return [
    frame(frameTypes.headers, flags, stream, block.subarray(0, cut)),
    frame(frameTypes.continuation, frameFlags.endHeaders, stream, block.subarray(cut)),
  ];
}

function randomData(random: Random, stream: number, flags: number): Buffer {
  const bytes = Buffer.alloc(random.chance(0.1) ? maxDataBytes : random.integer(0, 100));
  if (random.chance(0.9)) return data(stream, bytes, flags);
  const padding = random.integer(0, 255);
  const payload = Buffer.concat([Buffer.of(padding), bytes, Buffer.alloc(padding)]);
  return data(stream, payload, flags | frameFlags.padded);
}

function randomSettings(random: Random): Buffer {
  const entries: [number, number][] = [];
  if (random.chance(0.5)) entries.push([settingIds.initialWindowSize, random.integer(0, 200_000)]);
  if (random.chance(0.3)) entries.push([settingIds.maxFrameSize, random.integer(16_384, 100_000)]);
  if (random.chance(0.3)) entries.push([settingIds.headerTableSize, random.integer(0, 10_000)]);
  if (random.chance(0.3)) entries.push([0x99, random.integer(0, 1000)]);
  return settings(entries);
}

function bytesOf(random: Random, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => random.integer(0, 255)));
}
