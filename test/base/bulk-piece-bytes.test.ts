import { describe, expect, it } from 'vitest';
import { bulkPieceBytes } from '../../src/base/bulk-piece-bytes.ts';
import { frameHeaderBytes as http2HeaderBytes } from '../../src/http2/frame.ts';
import { dataHeaderMaxBytes } from '../../src/konnectivity/packet.ts';
import { maxPayloadBytes } from '../../src/konnectivity/packet-buffer.ts';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';
import { messageHeaderBytes } from '../../src/websocket/message-header.ts';

const fourRecordsBytes = 4 * 16 * 1024;

describe('A piece of bulk data', () => {
  it('A piece fits in four TLS records as a DATA frame in a WebSocket message', () => {
    const frameBytes = frameHeaderBytes + bulkPieceBytes;
    const bytes = messageHeaderBytes(frameBytes, true) + frameBytes;
    expect(bytes).toBeLessThanOrEqual(fourRecordsBytes);
  });

  it('A piece fits in four TLS records as two packets of konnectivity in DATA frames of HTTP/2', () => {
    expect(2 * maxPayloadBytes).toBe(bulkPieceBytes);
    const packetsBytes = 2 * (dataHeaderMaxBytes + maxPayloadBytes);
    const bytes = packetsBytes + Math.ceil(packetsBytes / (16 * 1024)) * http2HeaderBytes;
    expect(bytes).toBeLessThanOrEqual(fourRecordsBytes);
  });
});
