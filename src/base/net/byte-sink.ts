/** Memory that bytes are copied into on their way to a socket, or into a test. */
export interface ByteSink {
  /**
   * Makes room for `bytes` in one piece, to be written at the returned position of `slabBytes` and
   * counted with `fill`.
   */
  reserve(bytes: number): number;
  readonly slabBytes: Uint8Array;
  fill(bytes: number): void;
  /** Copies `from[start..end)` behind the rest. */
  copy(from: Uint8Array, start: number, end: number): void;
}
