/** What a byte may be a part of (RFC 9110, sections 5.5 and 5.6.2; RFC 9112, section 3.2.1). */
const kinds = new Uint8Array(256);
const tokenBit = 1;
const valueBit = 2;
const pathBit = 4;

for (let byte = 0; byte < 256; byte++) {
  if (/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(byte))) kinds[byte]! |= tokenBit;
  if (byte === 0x09 || (byte >= 0x20 && byte !== 0x7f)) kinds[byte]! |= valueBit;
  if (byte > 0x20 && byte !== 0x7f && byte !== 0x23) kinds[byte]! |= pathBit;
}

function isAll(bytes: Uint8Array, start: number, end: number, bit: number): boolean {
  for (let at = start; at < end; at++) if ((kinds[bytes[at]!]! & bit) === 0) return false;
  return true;
}

/** Whether a character of the name of a field has this code. */
export function isTokenCode(code: number): boolean {
  return (kinds[code]! & tokenBit) !== 0;
}

/** Whether a character of the value of a field has this code. */
export function isValueCode(code: number): boolean {
  return (kinds[code]! & valueBit) !== 0;
}

/** A method or the name of a field: never empty. */
export function isToken(bytes: Uint8Array, start: number, end: number): boolean {
  return end > start && isAll(bytes, start, end, tokenBit);
}

/** The value of a field, without whitespace at its ends. It may be empty. */
export function isFieldValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (end === start) return true;
  const isInner = bytes[start]! > 0x20 && bytes[end - 1]! > 0x20;
  return isInner && isAll(bytes, start, end, valueBit);
}

/** A request target in origin form. */
export function isOriginForm(bytes: Uint8Array, start: number, end: number): boolean {
  return bytes[start] === 0x2f && end > start && isAll(bytes, start, end, pathBit);
}
