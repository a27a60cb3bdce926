import { expect, it } from 'vitest';
import { RequestBody } from '../../src/gateway/node/request-body.ts';

/** A body, and what its source and its reader learn. The reader has no room behind a piece. */
function testedBody() {
  const events: string[] = [];
  const source = {
    pause: () => void events.push('pause'),
    resume: () => void events.push('resume'),
  };
  const body = new RequestBody(source, {
    onBody: (bytes) => {
      events.push(Buffer.from(bytes).toString());
      body.pause();
    },
    onBodyEnd: (trailers) => void events.push(`end ${JSON.stringify(trailers)}`),
  });
  /** What was learned since the last call. */
  const take = () => events.splice(0);
  return { body, take };
}

it('A body that is held pauses its source, which only the reader resumes', () => {
  const { body, take } = testedBody();
  expect(take()).toEqual([]);
  body.push(Buffer.from('a'));
  expect(take()).toEqual(['pause']);
  body.resume();
  expect(take()).toEqual([]);
  body.read();
  // The reader has the last word.
  expect(take()).toEqual(['resume', 'a', 'pause']);
  body.read();
  expect(take()).toEqual([]);
  body.resume();
  body.push(Buffer.from('b'));
  body.complete();
  expect(take()).toEqual(['resume', 'b', 'pause', 'end undefined']);
});

it('Small pieces that come before the request is admitted are kept as one', () => {
  const { body, take } = testedBody();
  const borrowed = Buffer.alloc(1);
  for (let at = 0; at < 10_000; at++) {
    borrowed[0] = 97 + (at % 26);
    body.push(borrowed);
  }
  body.trailers = [['x-sum', '7']];
  body.complete();
  take();
  body.read();
  const [, whole = '', ...rest] = take();
  expect(whole).toHaveLength(10_000);
  expect(whole.startsWith('abcdefghijklmnopqrstuvwxyzabc')).toBe(true);
  expect(rest).toEqual(['end [["x-sum","7"]]']);
});

it('A body that is complete pauses no source, which shows that its client leaves', () => {
  const { body, take } = testedBody();
  body.push(Buffer.from('a'));
  body.complete();
  take();
  body.read();
  expect(take()).toEqual(['resume', 'a', 'end undefined']);
  body.pause();
  expect(take()).toEqual([]);
});

it('A body that the server does not want is dropped, and its source goes on', () => {
  for (const isRead of [false, true]) {
    const { body, take } = testedBody();
    body.push(Buffer.from('a'));
    if (isRead) body.read();
    take();
    body.drop();
    expect(take()).toEqual(['resume']);
    body.push(Buffer.from('b'));
    body.read();
    body.resume();
    body.complete();
    expect(take()).toEqual([]);
  }
});

it('The rest of a body is dropped once its request has ended', () => {
  const { body, take } = testedBody();
  body.read();
  body.push(Buffer.from('a'));
  take();
  body.close();
  body.push(Buffer.from('b'));
  body.resume();
  body.complete();
  expect(take()).toEqual([]);
});
