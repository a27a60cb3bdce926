import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import {
  createRemoteDialer,
  type RemoteDialerOptions,
} from '../../src/dialer/node/remote-dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const page = (status: number): Answer => ({ status, type: 'text/html', body: '<h1>No</h1>' });
const said = (status: number, code: string): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify({ code, message: 'no' }),
});

/** The result of a dial that gets these answers on the way to the broker, and their number. */
async function dialThrough(
  answers: readonly Answer[],
  more: Partial<RemoteDialerOptions> = {},
): Promise<[code: string | undefined, asked: number, heads: readonly IncomingHttpHeaders[]]> {
  let asked = 0;
  const heads: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    heads.push(request.headers);
    const { status, type, body } = answers[Math.min(asked++, answers.length - 1)]!;
    response.writeHead(status, { 'Content-Type': type, Connection: 'close' }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await using dialer = createRemoteDialer({
    brokerUrl: new URL(`ws://127.0.0.1:${port}`),
    readToken: async () => undefined,
    caFile: undefined,
    serverName: undefined,
    hostHeader: undefined,
    proxies: {},
    log: silentLogger,
    ...more,
  });
  const ended = Promise.withResolvers<TunnelError | undefined>();
  const handler = { onData() {}, onFin() {}, onWritable() {}, onClose: ended.resolve };
  dialer.open({ cluster: 'c1', target: sampleTarget }, handler);
  const error = await ended.promise;
  server.close();
  return [error?.code, asked, heads];
}

it('The remote dialer names itself, and sends gateways the current headers', async () => {
  let reads = 0;
  const readHeaders = async () => ({ 'X-Gateway-Key': `${++reads}` });
  const [, , heads] = await dialThrough([page(403), said(403, 'forbidden')], { readHeaders });
  expect(heads.map((head) => head['x-gateway-key'])).toEqual(['1', '2']);
  expect(heads[0]!['user-agent']).toMatch(/^culvert-bridge\/\d/);
});

it.each([
  ['unauthorized', 401],
  ['forbidden', 403],
])("The remote dialer ends a dial with the broker's own %s, at once", async (code, status) => {
  expect(await dialThrough([said(status, code)])).toMatchObject([code, 1, [{}]]);
});

it('The remote dialer treats an impossible cluster name as a cluster without agents', async () => {
  expect(await dialThrough([said(400, 'protocol_error')])).toMatchObject(['no_agent', 1, [{}]]);
});

it('upgrade answered by 400, 401 or 403 with HTML: the remote dialer retries, because the broker did not answer', async () => {
  const answers = [page(403), page(401), page(400), said(403, 'forbidden')];
  expect((await dialThrough(answers)).slice(0, 2)).toEqual(['forbidden', 4]);
});
