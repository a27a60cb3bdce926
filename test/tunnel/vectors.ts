import vectorsJson from './vectors.json' with { type: 'json' };

/** A row of vectors.json: one frame as bytes and fields. docs/protocol.md shows the same rows. */
export interface Vector {
  readonly name: string;
  /** As docs/protocol.md spells it. */
  readonly type: string;
  readonly session: number;
  readonly stream: number;
  /** MessagePack payloads: the map. Others: the numbers, or `bytes` in hexadecimal. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly hex: string;
}

export const vectors: readonly Vector[] = vectorsJson;
