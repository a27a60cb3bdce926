/** The error codes of RFC 9113, section 7, as RST_STREAM and GOAWAY carry them. */
export const http2ErrorCodes = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

export type Http2ErrorCode = keyof typeof http2ErrorCodes;

/** A `stream` error resets one stream. A `connection` error ends the connection with GOAWAY. */
export type Http2ErrorScope = 'stream' | 'connection';

/** A frame of the peer breaks a rule of HTTP/2 or a limit of ours. */
export class Http2Error extends Error {
  override readonly name = 'Http2Error';
  readonly code: Http2ErrorCode;
  readonly scope: Http2ErrorScope;

  /** @param message names the frame and its value, for the log line */
  constructor(code: Http2ErrorCode, message: string, scope: Http2ErrorScope = 'connection') {
    super(message);
    this.code = code;
    this.scope = scope;
  }
}
