import { Http2Error } from './http2-error.ts';

/**
 * The Huffman code of RFC 7541, appendix B: the symbols of each code length in bits. The code is
 * canonical, so the lengths alone define it: within one length, codes count up in the order of the
 * symbols.
 */
const symbolsOfLength: readonly (readonly [bits: number, symbols: readonly number[]])[] = [
  [5, symbolsOf('012aceiost')],
  [6, symbolsOf(' %-./3456789=A_bdfghlmnpru')],
  [7, symbolsOf(':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz')],
  [8, symbolsOf('&*,;XZ')],
  [10, symbolsOf('!"()?')],
  [11, symbolsOf("'+|")],
  [12, symbolsOf('#>')],
  [13, symbolsOf('\0$@[]~')],
  [14, symbolsOf('^}')],
  [15, symbolsOf('<`{')],
  [19, [92, 195, 208]],
  [20, [128, 130, 131, 162, 184, 194, 224, 226]],
  [21, [153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230]],
  [
    22,
    [
      129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187,
      189, 190, 196, 198, 228, 232, 233,
    ],
  ],
  [
    23,
    [
      1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168,
      174, 175, 180, 182, 183, 188, 191, 197, 231, 239,
    ],
  ],
  [24, [9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237]],
  [25, [199, 207, 234, 235]],
  [26, [192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255]],
  [
    27,
    [203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254],
  ],
  [
    28,
    [
      2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
      31, 127, 220, 249,
    ],
  ],
  [30, [10, 13, 22, 256]],
];

/** The end of a string. It may only appear as padding, cut off after at most seven bits. */
const eosSymbol = 256;
const maxPaddingBits = 7;

/**
 * The decoder is a state machine over half bytes. A state is an inner node of the code's tree, and
 * the root is state 0. An entry of `transitions` holds the next state in its low byte, and flags and
 * a symbol above it. No code is shorter than five bits, so half a byte completes at most one symbol.
 */
const transitionsPerState = 16;
const emitsSymbol = 0x1_0000;
const isInvalid = 0x2_0000;

const { transitions, isAccepting } = buildDecoder();

/** The longest string for which a decoded text fits into `scratch`: 8/5 bytes for each byte. */
const scratchBytes = 16 * 1024;
/** Shared by all decoders, because a string is decoded without interruption. */
const scratch = Buffer.allocUnsafeSlow(scratchBytes);

/**
 * Decodes the string in `bytes` from `start` up to `end` and returns it as latin1.
 *
 * @throws {Http2Error} `COMPRESSION_ERROR` if the string contains EOS, or if its padding is longer
 *   than seven bits or differs from the beginning of EOS (RFC 7541, section 5.2)
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  const maxBytes = Math.ceil(((end - start) * 8) / 5);
  const output = maxBytes <= scratchBytes ? scratch : Buffer.allocUnsafeSlow(maxBytes);
  let length = 0;
  let state = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    const high = transitions[state * transitionsPerState + (byte >> 4)]!;
    if ((high & emitsSymbol) !== 0) output[length++] = high >> 8;
    const low = transitions[(high & 0xff) * transitionsPerState + (byte & 0xf)]!;
    if ((low & emitsSymbol) !== 0) output[length++] = low >> 8;
    if (((high | low) & isInvalid) !== 0) throw invalidString('contains EOS');
    state = low & 0xff;
  }
  if (isAccepting[state] === 0) throw invalidString('ends with invalid padding');
  return output.toString('latin1', 0, length);
}

function invalidString(problem: string): Http2Error {
  return new Http2Error('COMPRESSION_ERROR', `a Huffman string of a header block ${problem}`);
}

function symbolsOf(text: string): number[] {
  return [...Buffer.from(text, 'latin1')];
}

/** A node of the code's tree: the children for 0 and 1, each an inner node or a symbol. */
type TreeNode = [TreeNode | number | undefined, TreeNode | number | undefined];

function buildTree(): TreeNode {
  const root: TreeNode = [undefined, undefined];
  let code = 0;
  let bits = 0;
  for (const [length, symbols] of symbolsOfLength) {
    code *= 2 ** (length - bits);
    bits = length;
    for (const symbol of symbols) {
      let node = root;
      for (let bit = length - 1; bit > 0; bit--) {
        const child = (node[(code >> bit) & 1] ??= [undefined, undefined]);
        if (typeof child === 'number') throw new Error('the Huffman code is not free of prefixes');
        node = child;
      }
      node[code & 1] = symbol;
      code++;
    }
  }
  return root;
}

function buildDecoder(): { transitions: Uint32Array; isAccepting: Uint8Array } {
  const root = buildTree();
  const states: TreeNode[] = [root];
  // The list grows while it is walked.
  for (const node of states) {
    for (const child of node) if (typeof child === 'object') states.push(child);
  }
  const numbers = new Map(states.map((node, state) => [node, state]));
  const transitions = new Uint32Array(states.length * transitionsPerState);
  for (const [state, start] of states.entries()) {
    for (let half = 0; half < transitionsPerState; half++) {
      let node = start;
      let flags = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const child = node[(half >> bit) & 1]!;
        if (typeof child === 'object') {
          node = child;
          continue;
        }
        flags |= child === eosSymbol ? isInvalid : emitsSymbol | (child << 8);
        node = root;
      }
      transitions[state * transitionsPerState + half] = flags | numbers.get(node)!;
    }
  }
  const isAccepting = new Uint8Array(states.length);
  let padding: TreeNode | number | undefined = root;
  for (let bits = 0; bits <= maxPaddingBits; bits++) {
    if (typeof padding !== 'object') throw new Error('EOS is shorter than the longest padding');
    isAccepting[numbers.get(padding)!] = 1;
    padding = padding[1];
  }
  return { transitions, isAccepting };
}
