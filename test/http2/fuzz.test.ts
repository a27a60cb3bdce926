import { expect, it } from 'vitest';
import { fuzzHttp2 } from '../../testkit/http2/fuzz.ts';

it('The HTTP/2 server answers damaged conversations with typed errors alone', () => {
  const { frames, outcomes } = fuzzHttp2({ seed: 1, frames: 20_000 });
  expect(frames).toBeGreaterThanOrEqual(20_000);
  // The damage is neither too small nor too large: connections fail, and others survive.
  expect(Object.keys(outcomes)).toEqual(
    expect.arrayContaining(['none', 'PROTOCOL_ERROR', 'FRAME_SIZE_ERROR', 'COMPRESSION_ERROR']),
  );
});
