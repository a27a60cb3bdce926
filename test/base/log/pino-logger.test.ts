import { describe, expect, it } from 'vitest';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import type { LogLevel } from '../../../src/base/log/log-level.ts';
import { createPinoLogger } from '../../../src/base/log/pino-logger.ts';
import { Secret } from '../../../src/base/secret.ts';
import { logFieldLimits } from '../../../src/base/log/printable-fields.ts';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

/** Fields that no program logs. */
const any = (fields: Record<string, unknown>): LogFields => fields;

function captured(level: LogLevel = 'debug', clock = new VirtualClock()) {
  const lines: Record<string, unknown>[] = [];
  const log = createPinoLogger({
    level,
    clock,
    repeatLimits: { maxLines: 3, intervalMs: 1000 },
    destination: { write: (line) => void lines.push(JSON.parse(line) as never) },
  });
  return { log, lines };
}

describe('createPinoLogger', () => {
  it('The logger writes one JSON object per line: level, time, event, fields', () => {
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

  it('The logger leaves out lines that are less important than its level', () => {
    const { log, lines } = captured('warn');
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(lines.map(({ event }) => event)).toEqual(['c', 'd']);
  });

  it('The logger adds the fields of a child to all its lines', () => {
    const { log, lines } = captured();
    log
      .child(any({ cluster: 'c1', token: 'sesame' }))
      .child({ session: 7 })
      .warn('slow');
    expect(lines[0]).toMatchObject({ cluster: 'c1', token: '[redacted]', session: 7 });
  });

  it('The logger never writes a credential', () => {
    const { log, lines } = captured();
    log.info(
      'connecting',
      any({
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
      }),
    );
    expect(JSON.stringify(lines)).not.toContain('sesame');
    expect(lines[0]).toMatchObject({
      headers: { accept: '*' },
      url: 'wss://hub/path',
      tokenFile: '/run/token',
      monkey: 'see',
    });
  });

  it('The logger writes an error with its code and the sentences of its causes', () => {
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

  it('The logger survives fields with circular references', () => {
    const { log, lines } = captured();
    const knot: Record<string, unknown> = { count: 5n };
    knot['self'] = knot;
    log.info('tied', any({ knot }));
    expect(lines[0]).toMatchObject({ event: 'tied', knot: { count: '5' } });
  });
});

describe('length of a log line', () => {
  const line = (fields: Record<string, unknown>) => {
    const written: string[] = [];
    const destination = { write: (text: string) => void written.push(text) };
    createPinoLogger({ level: 'info', destination }).info('event', fields);
    return written[0]!;
  };
  const maxLineLength = 6000;

  it.each<[string, Record<string, unknown>]>([
    ['a long path', { path: `/${'x'.repeat(14_000)}` }],
    [
      'many long fields',
      Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`f${at}`, 'x'.repeat(9000)])),
    ],
    ['control characters', { reason: '\u0000'.repeat(14_000), path: '\u0001'.repeat(14_000) }],
    ['quotes', { reason: '"'.repeat(14_000), path: '\\'.repeat(14_000) }],
    ['a long list', { list: Array<string>(10_000).fill('x'.repeat(1000)) }],
    ['a long list of numbers', { list: Array<number>(10_000).fill(12_345) }],
    ['long names', { headers: { ['x'.repeat(9000)]: 'y' } }],
    ['an error with a long message', { error: new Error('x'.repeat(100_000)) }],
    ['a long URL', { url: new URL(`wss://hub/${'x'.repeat(14_000)}`) }],
    ['a large number', { count: 10n ** 9000n }],
  ])('The length of a log line is limited for %s', (_, fields) => {
    expect(line(fields).length).toBeLessThan(maxLineLength);
  });

  it('The logger keeps the beginning of a long text and tells how much is missing', () => {
    const { log, lines } = captured();
    const { maxTextLength } = logFieldLimits;
    log.info(
      'event',
      any({ long: 'x'.repeat(maxTextLength + 7), short: 'y'.repeat(maxTextLength) }),
    );
    expect(lines[0]).toMatchObject({
      long: `${'x'.repeat(maxTextLength)}[+7 characters]`,
      short: 'y'.repeat(maxTextLength),
    });
  });
});

describe('repeated log lines', () => {
  it('A repeated log line is written a few times in an interval, and then once with the number of lines left out', async () => {
    const clock = new VirtualClock();
    const { log, lines } = captured('debug', clock);
    for (let at = 0; at < 100; at++) log.warn('destination refused', { port: at });
    expect(lines.map(({ port }) => port)).toEqual([0, 1, 2]);
    await clock.advance(1000);
    expect(lines[3]).toMatchObject({
      level: 'warn',
      event: 'destination refused',
      leftOut: 97,
      intervalMs: 1000,
    });
    log.warn('destination refused', { port: 7 });
    await clock.advance(1000);
    expect(lines.slice(4)).toMatchObject([{ port: 7 }]);
  });

  it('Repeated log lines are counted by event, level and code, over all children, and only for warnings and errors', () => {
    const { log, lines } = captured();
    for (let at = 0; at < 100; at++) {
      log.child(any({ at })).warn('refused', { code: 'a' });
      log.child(any({ at })).warn('refused', { code: 'b' });
      log.error('refused');
      log.info('connected');
      log.debug('dial');
    }
    const counts = Map.groupBy(lines, ({ level, event, code }) =>
      [level, event, code ?? 'none'].join(' '),
    );
    expect(Array.from(counts, ([kind, { length }]) => [kind, length])).toEqual([
      ['warn refused a', 3],
      ['warn refused b', 3],
      ['error refused none', 3],
      ['info connected none', 100],
      ['debug dial none', 100],
    ]);
  });

  it('Repeated log lines are limited even when each has a code of its own', () => {
    const { log, lines } = captured();
    for (let at = 0; at < 20_000; at++) log.warn('refused', { code: `code ${at}` });
    expect(lines.length).toBeLessThan(1010);
  });
});
