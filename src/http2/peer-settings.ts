import {
  defaultMaxFrameBytes,
  defaultWindowBytes,
  max31Bits,
  readUint32,
  Setting,
} from './frame.ts';
import { Http2Error } from './http2-error.ts';

const settingBytes = 6;
const defaultHeaderTableBytes = 4096;
const largestMaxFrameBytes = 0xff_ffff;

/** The settings of the client that we use. The others bind nothing that we send. */
export class PeerSettings {
  initialWindowBytes = defaultWindowBytes;
  maxFrameBytes = defaultMaxFrameBytes;
  /**
   * The client has a smaller HPACK table than by default, and the next header block must say that it
   * is used no more (RFC 7541, section 4.2).
   */
  isTableReduced = false;

  /** @throws Http2Error a value is not allowed (RFC 9113, section 6.5.2) */
  read(payload: Uint8Array): void {
    if (payload.length % settingBytes !== 0) {
      throw new Http2Error('FRAME_SIZE_ERROR', `SETTINGS has ${payload.length} bytes`);
    }
    for (let at = 0; at < payload.length; at += settingBytes) {
      this.#apply((payload[at]! << 8) | payload[at + 1]!, readUint32(payload, at + 2));
    }
  }

  #apply(setting: number, value: number): void {
    switch (setting) {
      case Setting.headerTableSize:
        this.isTableReduced ||= value < defaultHeaderTableBytes;
        return;
      case Setting.enablePush:
        if (value > 1) throw invalid('ENABLE_PUSH', value);
        return;
      case Setting.initialWindowSize:
        if (value > max31Bits) throw invalid('INITIAL_WINDOW_SIZE', value, 'FLOW_CONTROL_ERROR');
        this.initialWindowBytes = value;
        return;
      case Setting.maxFrameSize:
        if (value < defaultMaxFrameBytes || value > largestMaxFrameBytes)
          throw invalid('MAX_FRAME_SIZE', value);
        this.maxFrameBytes = value;
        return;
      default:
    }
  }
}

function invalid(
  name: string,
  value: number,
  code: 'PROTOCOL_ERROR' | 'FLOW_CONTROL_ERROR' = 'PROTOCOL_ERROR',
): Http2Error {
  return new Http2Error(code, `SETTINGS_${name} cannot be ${value}`);
}
