import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GatewayChain, startGatewayChain } from './gateway-chain.ts';

let chain: GatewayChain;
beforeAll(async () => (chain = await startGatewayChain()));
afterAll(() => chain?.[Symbol.asyncDispose]());

const ok = 'HTTP/1.1 200 OK\r\n';
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
const empty = 'Content-Length: 0\r\n\r\n';

/** The server answers with these bytes, and ends the connection if `ends`. */
function answerWith(text: string, ends = false): void {
  chain.answer = (socket) => {
    socket.write(text, 'latin1');
    if (ends) socket.end();
  };
}

/** The same request over both protocols, beside requests of an honest user. */
async function getBoth() {
  const [over1, over2, ...honest] = await Promise.all([
    chain.over1('/attacked'),
    chain.over2('/attacked'),
    chain.over1('/honest'),
    chain.over2('/honest'),
  ]);
  honest.push(await chain.over2('/honest'));
  for (const answer of honest) {
    expect(answer).toMatchObject({ status: 200, body: 'honest', isCut: false });
  }
  return [over1, over2];
}

describe('A malicious kube-apiserver behind gateway, broker and agent', () => {
  it.each([
    ['a head without end', `${ok}A: ${'b'.repeat(100_000)}`],
    ['fields without end', `${ok}${'A: b\r\n'.repeat(20_000)}`],
    ['informational heads without end', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(2_000)],
    ['an unrequested 101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello'],
    ['two lengths', `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
    [
      'a length and chunks',
      `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['a split head', `${ok}A: b\rHTTP/1.1 200 OK\r\n${empty}`],
    ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n'],
  ])('An answer with %s becomes a Status, and others are served', async (_, text) => {
    answerWith(text);
    for (const { status, body, isCut } of await getBoth()) {
      expect({ status, isCut }).toEqual({ status: 502, isCut: false });
      expect(JSON.parse(body)).toMatchObject({ kind: 'Status', code: 502 });
    }
  });

  it.each([
    ['a shorter body than its length', `${ok}Content-Length: 10\r\n\r\nabc`],
    ['a part of a chunk', `${chunked}5\r\nab`],
    ['chunks without the last', `${chunked}2\r\nab\r\n`],
    ['garbage for a chunk', `${chunked}2\r\nab\r\nxyz\r\n`],
    ['trailers without end', `${chunked}2\r\nab\r\n0\r\n${'A: b\r\n'.repeat(20_000)}`],
    ['a trailer that is no field', `${chunked}2\r\nab\r\n0\r\nno field\r\n\r\n`],
  ])('An answer with %s never looks complete, and others are served', async (_, text) => {
    answerWith(text, true);
    // The client may not have got the head when the answer breaks off.
    for (const { status, isCut } of await getBoth()) expect(isCut || status === 502).toBe(true);
  });

  it('A status of no class passes over HTTP/1.1 and becomes a Status over HTTP/2', async () => {
    answerWith(`HTTP/1.1 999 Odd\r\n${empty}`);
    expect((await getBoth()).map(({ status }) => status)).toEqual([999, 502]);
  });

  it.each([
    ['fields of HTTP/1.1', `${ok}TE: gzip\r\nHTTP2-Settings: AAMAAABk\r\n${empty}`],
    ['single fields twice', `${ok}ETag: a\r\nETag: b\r\nDate: a\r\nDate: b\r\n${empty}`],
    ['early hints without meaning', `HTTP/1.1 103 E\r\nLink: garbage\r\n\r\n${ok}${empty}`],
    ['early hints of HTTP/1.1', `HTTP/1.1 103 E\r\nTE: gzip\r\nLink: </a>\r\n\r\n${ok}${empty}`],
    ['an odd informational head', `HTTP/1.1 199 Odd\r\nETag: b\r\nETag: c\r\n\r\n${ok}${empty}`],
    ['trailers of HTTP/1.1', `${chunked}0\r\nTE: gzip\r\nHTTP2-Settings: a\r\n\r\n`],
    ['single trailers twice', `${chunked}0\r\nETag: b\r\nETag: c\r\n\r\n`],
  ])('An answer with %s passes, and others are served', async (_, text) => {
    answerWith(text);
    for (const { status, isCut } of await getBoth()) {
      expect({ status, isCut }).toEqual({ status: 200, isCut: false });
    }
  });

  it('Trailers about the message itself do not pass', async () => {
    answerWith(`${chunked}0\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nX-Sum: 7\r\n\r\n`);
    for (const { trailers } of await getBoth()) {
      expect(Object.entries(trailers)).toEqual([['x-sum', '7']]);
    }
  });
});
