/** Limits on the other end of an exchange. docs/protocol.md, "HTTP exchanges", has the same. */
export const exchangeLimits = {
  /** A response's head, an informational head, or trailers, in bytes. */
  maxHeadBytes: 64 * 1024,
  /** Fields of a head or of trailers. */
  maxFields: 1024,
  /** Informational heads of a response. */
  maxInformational: 100,
  /** The payload of a BODY record that this end writes, in bytes. The length has 24 bits. */
  maxBodyRecordBytes: 0xff_ffff,
} as const;
