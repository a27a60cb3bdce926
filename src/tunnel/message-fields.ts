import { malformed, type ControlMap } from './control-map.ts';
import type { FrameType } from './frame.ts';

export const maxU32 = 0xffff_ffff;

/** Reads a text that is only shown. It is cut if it is too long. */
export function textOf(
  type: FrameType,
  fields: ControlMap,
  name: string,
  maxLength: number,
): string {
  const value = fields.get(name);
  if (typeof value !== 'string') throw malformed(type, `has no text "${name}"`);
  return cut(value, maxLength);
}

export function wholeOf(type: FrameType, fields: ControlMap, name: string, max: number): number {
  const value = fields.get(name);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw malformed(type, `needs "${name}" as a whole number up to ${max}`);
  }
  return value;
}

/**
 * Reads a text that the code acts upon. If it were cut, it would name something else; an empty host
 * means this machine to some resolvers.
 */
export function nameOf(
  type: FrameType,
  fields: ControlMap,
  field: string,
  maxLength: number,
): string {
  const value = fields.get(field);
  if (typeof value !== 'string' || value.length === 0 || value.length > maxLength) {
    throw malformed(type, `needs "${field}" as text of 1 to ${maxLength} characters`);
  }
  return value;
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

/**
 * The first characters of a text. A plain `slice` would keep the whole text in memory as long as
 * the result is used.
 */
export function cut(value: string, maxLength: number): string {
  if (value.length <= maxLength) return value;
  return utf8Decoder.decode(utf8Encoder.encode(value.slice(0, maxLength)));
}
