import { expect, it } from 'vitest';
import { fuzzHttp2 } from '../../testkit/http2/fuzz.ts';

const mib = 1024 * 1024;
/** HTTP2_FUZZ_FRAMES=10000000 is the run for a release. HTTP2_FUZZ_SEED repeats a failure. */
const frames = Number(process.env['HTTP2_FUZZ_FRAMES'] ?? 200_000);
const seed = Number(process.env['HTTP2_FUZZ_SEED'] ?? 1_000_000);
const hour = 3600_000;

it(
  'The HTTP/2 server keeps its rules and its memory in many damaged conversations',
  { timeout: hour },
  () => {
    const before = process.memoryUsage().rss;
    const report = fuzzHttp2({ seed, frames });
    expect(report.frames).toBeGreaterThanOrEqual(frames);
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * mib);
  },
);
