/** As much of ASN.1's distinguished encoding as an X.509 certificate needs. */
export const der = {
  sequence: (...parts: readonly Buffer[]): Buffer => tagged(0x30, ...parts),
  set: (...parts: readonly Buffer[]): Buffer => tagged(0x31, ...parts),
  integer: (bytes: Buffer): Buffer => tagged(0x02, bytes),
  boolean: (value: boolean): Buffer => tagged(0x01, Buffer.of(value ? 0xff : 0)),
  octetString: (bytes: Buffer): Buffer => tagged(0x04, bytes),
  utf8String: (text: string): Buffer => tagged(0x0c, Buffer.from(text)),
  bitString: (bytes: Buffer, unusedBits = 0): Buffer => tagged(0x03, Buffer.of(unusedBits), bytes),
  /** A time before 2050, to the second. */
  utcTime: (time: Date): Buffer =>
    tagged(0x17, Buffer.from(`${time.toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`)),
  objectId: (dotted: string): Buffer => tagged(0x06, objectIdBytes(dotted)),
  /** A context-specific tag around whole elements. */
  explicit: (tag: number, ...parts: readonly Buffer[]): Buffer => tagged(0xa0 | tag, ...parts),
  /** A context-specific tag in place of the element's own. */
  implicit: (tag: number, bytes: Buffer): Buffer => tagged(0x80 | tag, bytes),
};

function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag), lengthBytes(content.length), content]);
}

function lengthBytes(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length);
  const bytes = Buffer.from(length.toString(16).padStart(length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.of(0x80 | bytes.length), bytes]);
}

function objectIdBytes(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const groups = [first * 40 + second, ...rest].map((arc) => {
    const septets = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    return septets;
  });
  return Buffer.from(groups.flat());
}
