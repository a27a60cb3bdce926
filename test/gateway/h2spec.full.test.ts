import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runH2spec } from '../../testkit/http2/h2spec.ts';
import { serveTlsGateway } from './served-gateway.ts';

/** Cases that the gateway does not follow, with the reason. */
const deviations: ReadonlyMap<string, string> = new Map([
  [
    'http2/5.1: closed: Sends a HEADERS frame',
    'Until the answer has left the process, the stream is half-closed: RST_STREAM is right, too.',
  ],
]);

describeWith({ go: await ground.h2spec() }, 'h2spec', ({ go }) => {
  it(
    'h2spec finds no deviation of the gateway from HTTP/2, except for the listed ones',
    { timeout: 6 * 60_000 },
    async () => {
      await using world = await serveTlsGateway();
      const more = ['--tls', '--insecure', '--path', '/c1/version'];
      const { passed, failed } = await runH2spec(go.h2spec, world.gateway.address, more);
      expect(failed.filter((title) => !deviations.has(title))).toEqual([]);
      // 146 cases, of which h2spec skips a few for a server without push.
      expect(passed).toBeGreaterThanOrEqual(142 - deviations.size);
    },
  );
});
