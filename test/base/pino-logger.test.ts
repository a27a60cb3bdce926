import { describe, expect, it } from 'vitest';
import type { LogLevel } from '../../src/base/options-common.ts';
import { createPinoLogger } from '../../src/base/pino-logger.ts';
import { Secret } from '../../src/base/secret.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';

function captured(level: LogLevel = 'debug') {
  const lines: Record<string, unknown>[] = [];
  const log = createPinoLogger({
    level,
    destination: { write: (line) => void lines.push(JSON.parse(line) as never) },
  });
  return { log, lines };
}

describe('createPinoLogger', () => {
  it('writes one JSON object per line: level, time, event, fields', () => {
    const { log, lines } = captured();
    log.info('session opened', { cluster: 'c1', streams: 3 });
    expect(lines).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        event: 'session opened',
        cluster: 'c1',
        streams: 3,
      },
    ]);
  });

  it('leaves out what is less important than its level', () => {
    const { log, lines } = captured('warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(lines.map(({ event }) => event)).toEqual(['c', 'd']);
  });

  it('gives the fields of a child to all its lines', () => {
    const { log, lines } = captured();
    log.child({ cluster: 'c1', token: 'sesame' }).child({ session: 7 }).warn('slow');
    expect(lines[0]).toMatchObject({ cluster: 'c1', token: '[redacted]', session: 7 });
  });

  it('never writes a credential', () => {
    const { log, lines } = captured();
    log.info('connecting', {
      token: 'sesame',
      Authorization: 'Bearer sesame',
      headers: { 'proxy-authorization': 'Basic sesame', accept: '*' },
      list: [{ password: 'sesame' }],
      privateKey: 'sesame',
      key: 'sesame',
      wrapped: new Secret('sesame'),
      url: new URL('wss://me:sesame@hub/path?access=sesame'),
      tokenFile: '/run/token',
      monkey: 'see',
    });
    expect(JSON.stringify(lines)).not.toContain('sesame');
    expect(lines[0]).toMatchObject({
      headers: { accept: '*' },
      url: 'wss://hub/path',
      tokenFile: '/run/token',
      monkey: 'see',
    });
  });

  it('writes an error with its code and the sentences of its causes', () => {
    const { log, lines } = captured();
    const cause = new Error('connect ECONNREFUSED 10.0.0.1:443');
    log.warn('tunnel lost', { error: new TunnelError('link_lost', 'the link ended', { cause }) });
    log.error('a bug', { error: new Error('no code') });
    expect(lines[0]?.['error']).toEqual({
      name: 'TunnelError',
      code: 'link_lost',
      message: 'the link ended: connect ECONNREFUSED 10.0.0.1:443',
    });
    expect(lines[1]?.['error']).toMatchObject({ stack: expect.stringContaining('no code') });
  });

  it('survives fields that point at themselves', () => {
    const { log, lines } = captured();
    const knot: Record<string, unknown> = { count: 5n };
    knot['self'] = knot;
    log.info('tied', { knot });
    expect(lines[0]).toMatchObject({ event: 'tied', knot: { count: '5' } });
  });
});
