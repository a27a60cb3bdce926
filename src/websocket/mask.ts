/** Below this many bytes the word loop does not pay for its set-up. */
const wordwiseFromBytes = 32;

const keyBytes = new Uint8Array(4);
const keyWord = new Uint32Array(keyBytes.buffer);

// The words of the memory masked last: reads and writes recycle theirs, so this is nearly always
// the one needed.
let words: Uint32Array = new Uint32Array(0);

function wordsOf(bytes: Uint8Array): Uint32Array {
  if (words.buffer !== bytes.buffer) {
    words = new Uint32Array(bytes.buffer, 0, bytes.buffer.byteLength >>> 2);
  }
  return words;
}

/**
 * XORs `bytes` from `start` to `end` with a masking key, in place (RFC 6455, section 5.3; it is its
 * own inverse).
 *
 * @param key four bytes, the first in the lowest eight bits
 * @param offset how far `start` is from the beginning of the frame's payload
 */
export function applyMask(
  bytes: Uint8Array,
  start: number,
  end: number,
  key: number,
  offset: number,
): void {
  if (key === 0) return;
  let at = start;
  let turned = turnKey(key, offset);
  if (end - start >= wordwiseFromBytes) {
    while (((bytes.byteOffset + at) & 3) !== 0) {
      bytes[at] = bytes[at]! ^ turned;
      turned = turnKey(turned, 1);
      at++;
    }
    at = applyWords(bytes, at, end, turned);
  }
  for (; at < end; at++) {
    bytes[at] = bytes[at]! ^ turned;
    turned = turnKey(turned, 1);
  }
}

/** Masks all whole words from an aligned `at` and returns where it stopped. */
function applyWords(bytes: Uint8Array, at: number, end: number, key: number): number {
  // Through bytes, so that the order of bytes in a word is the machine's own.
  for (let index = 0; index < 4; index++) keyBytes[index] = key >>> (8 * index);
  const word = keyWord[0]!;
  const view = wordsOf(bytes);
  const first = (bytes.byteOffset + at) >>> 2;
  const last = first + ((end - at) >>> 2);
  for (let index = first; index < last; index++) view[index] = view[index]! ^ word;
  return at + 4 * (last - first);
}

function turnKey(key: number, byBytes: number): number {
  const bits = 8 * (byBytes & 3);
  return bits === 0 ? key : (key >>> bits) | (key << (32 - bits));
}

const randomKeys = new Uint32Array(1024);
let nextKey = randomKeys.length;

/** Returns a key that no peer can predict. One call of the random source gives many keys. */
export function randomMaskKey(): number {
  if (nextKey === randomKeys.length) {
    crypto.getRandomValues(randomKeys);
    nextKey = 0;
  }
  return randomKeys[nextKey++]!;
}
