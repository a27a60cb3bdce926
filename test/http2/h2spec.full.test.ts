import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startEchoFront } from '../../testkit/http2/echo-front.ts';
import { runH2spec } from '../../testkit/http2/h2spec.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';

const answeredAtOnce =
  'h2spec sends GET without a gRPC content-type. The front refuses that with the complete answer ' +
  '405, so the call has ended before the frame of the case arrives. attacks.test.ts and ' +
  'server-connection.test.ts test the rule with a call that is open.';
const withoutBody =
  'h2spec expects DATA, and the answer to a request that is not gRPC has no body.';

/** Cases that a server for gRPC alone does not follow, with the reason. */
const deviations: ReadonlyMap<string, string> = new Map([
  ['generic/2: Sends a WINDOW_UPDATE frame on half-closed (remote) stream', withoutBody],
  ['generic/2: Sends a PRIORITY frame on half-closed (remote) stream', withoutBody],
  [
    'http2/3.5: Sends invalid connection preface',
    'The bytes look like HTTP/1, and the front answers them in HTTP/1 before it closes.',
  ],
  ['http2/5.1: closed: Sends a DATA frame after sending RST_STREAM frame', answeredAtOnce],
  [
    'http2/5.1: closed: Sends a HEADERS frame',
    'Until the answer has left the process, the stream is half-closed: RST_STREAM is right, too.',
  ],
  ['http2/5.1: closed: Sends a HEADERS frame after sending RST_STREAM frame', answeredAtOnce],
  [
    'http2/5.1.2: Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded',
    answeredAtOnce,
  ],
  ['http2/8.1: Sends a second HEADERS frame without the END_STREAM flag', answeredAtOnce],
  [
    'http2/8.1.2.1: Sends a HEADERS frame that contains a pseudo-header field as trailers',
    answeredAtOnce,
  ],
  [
    'http2/8.1.2.6: Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
    answeredAtOnce,
  ],
  [
    'http2/8.1.2.6: Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length',
    answeredAtOnce,
  ],
  [
    'http2/6.9: Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream',
    answeredAtOnce,
  ],
  [
    'http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
    answeredAtOnce,
  ],
]);

describeWith({ go: await ground.h2spec() }, 'h2spec', ({ go }) => {
  it.each([
    ['in the clear', []],
    ['over TLS', ['--tls', '--insecure']],
  ])(
    'h2spec finds no deviation from HTTP/2 %s, except for the listed ones',
    { timeout: 6 * 60_000 },
    async (transport, more) => {
      await using certificates = await makeTestCertificates();
      await using front = await startEchoFront(
        transport === 'over TLS' ? certificates.server : undefined,
      );
      const { passed, failed } = await runH2spec(go.h2spec, front, more);
      expect(failed.filter((title) => !deviations.has(title))).toEqual([]);
      // 146 cases, of which h2spec skips a few for a server without push.
      expect(passed).toBeGreaterThanOrEqual(142 - deviations.size);
    },
  );
});
