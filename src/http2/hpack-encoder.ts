import { type HeaderField, staticTable } from './hpack-static-table.ts';

/** A name of the static table: its first index, and the index of each of its values. */
interface StaticName {
  readonly index: number;
  readonly indexOfValue: Map<string, number>;
}

const staticNames = new Map<string, StaticName>();
for (const [at, { name, value }] of staticTable.entries()) {
  const index = at + 1;
  let known = staticNames.get(name);
  if (known === undefined) staticNames.set(name, (known = { index, indexOfValue: new Map() }));
  // An empty value in the table means that the table has only the name.
  if (value !== '') known.indexOfValue.set(value, index);
}

// The first bits of a representation, and the largest value of a prefix (RFC 7541, section 6).
const indexed = 0x80;
const indexedPrefix = 0x7f;
const literalPrefix = 0x0f;
const lengthPrefix = 0x7f;

/** An index and two lengths, of six bytes each. An integer of 32 bits is not longer. */
const maxIntegersBytes = 3 * 6;

/**
 * Encodes a header block with the static table alone: no state of the connection, no Huffman codes.
 * So the same fields give the same bytes on every connection, and a caller can keep them. Names must
 * be in lower case. Names and values are latin1.
 */
export function encodeHeaders(fields: readonly HeaderField[]): Uint8Array {
  let maxBytes = 0;
  for (const { name, value } of fields) maxBytes += name.length + value.length + maxIntegersBytes;
  const block = Buffer.allocUnsafe(maxBytes);
  let at = 0;
  for (const { name, value } of fields) {
    const known = staticNames.get(name);
    const index = known?.indexOfValue.get(value);
    if (index !== undefined) {
      at = writeInteger(block, at, indexed, indexedPrefix, index);
      continue;
    }
    at = writeInteger(block, at, 0, literalPrefix, known?.index ?? 0);
    if (known === undefined) at = writeText(block, at, name);
    at = writeText(block, at, value);
  }
  // A copy of the right size, because callers keep blocks.
  return new Uint8Array(block.subarray(0, at));
}

function writeText(block: Buffer, at: number, text: string): number {
  const start = writeInteger(block, at, 0, lengthPrefix, text.length);
  return start + block.write(text, start, 'latin1');
}

/** Writes an integer with `flags` above its prefix (RFC 7541, section 5.1). */
function writeInteger(
  block: Buffer,
  at: number,
  flags: number,
  prefix: number,
  value: number,
): number {
  if (value < prefix) {
    block[at] = flags | value;
    return at + 1;
  }
  block[at++] = flags | prefix;
  let rest = value - prefix;
  for (; rest >= 0x80; rest >>>= 7) block[at++] = (rest & 0x7f) | 0x80;
  block[at] = rest;
  return at + 1;
}
