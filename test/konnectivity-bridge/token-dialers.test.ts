import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/base/secret.ts';
import { type TokenDialer, TokenDialers } from '../../src/konnectivity-bridge/token-dialers.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { ScriptedDialer } from './scripted-dialer.ts';

class CountingDialer extends ScriptedDialer implements TokenDialer {
  readonly token: string;
  streamCount = 0;
  isClosed = false;

  constructor(token: string) {
    super();
    this.token = token;
  }

  close(): void {
    this.isClosed = true;
  }
}

function scene() {
  const made: CountingDialer[] = [];
  const clock = new VirtualClock();
  const dialers = new TokenDialers((token) => {
    const dialer = new CountingDialer(token.reveal());
    made.push(dialer);
    return dialer;
  }, clock);
  const get = (token: string) => dialers.get(new Secret(token)) as CountingDialer | undefined;
  return { made, clock, dialers, get };
}

describe('the dialers of tokens', () => {
  it('Clients with the same token share a dialer, and other tokens have their own', () => {
    const { get } = scene();
    const first = get('a');
    expect(get('a')).toBe(first);
    expect(get('b')).not.toBe(first);
    expect(get('b')!.token).toBe('b');
  });

  it('A dialer without streams is closed after a while, and one with streams is not', async () => {
    const { get, clock, made } = scene();
    get('a')!.streamCount = 1;
    get('b');
    await clock.advance(60_000);
    expect(made.map(({ isClosed }) => isClosed)).toEqual([false, true]);
    made[0]!.streamCount = 0;
    await clock.advance(60_000);
    expect(made[0]!.isClosed).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('A token is shown again after five minutes, and the streams of the old dialer continue', async () => {
    const { get, clock, made } = scene();
    get('a')!.streamCount = 1;
    await clock.advance(299_000);
    expect(get('a')).toBe(made[0]);
    await clock.advance(1_000);
    expect(get('a')).toBe(made[1]);
    expect(made[0]!.isClosed).toBe(false);
    made[0]!.streamCount = 0;
    await clock.advance(60_000);
    expect(made[0]!.isClosed).toBe(true);
  });

  it('A new token takes the room of the dialer without streams that was used least recently', () => {
    const { get, made } = scene();
    for (let at = 0; at < 256; at++) get(`t${at}`)!.streamCount = at < 2 ? 0 : 1;
    expect(get('t0')).toBe(made[0]);
    expect(get('new')).toBeDefined();
    expect(made.filter(({ isClosed }) => isClosed).map(({ token }) => token)).toEqual(['t1']);
  });

  it('A new token is refused while all dialers have streams', () => {
    const { get, made } = scene();
    for (let at = 0; at < 256; at++) get(`t${at}`)!.streamCount = 1;
    expect(get('new')).toBeUndefined();
    expect(get('t7')).toBe(made[7]);
  });

  it('All dialers are closed at the end', async () => {
    const { get, made, clock, dialers } = scene();
    get('a')!.streamCount = 1;
    await clock.advance(300_000);
    get('a');
    dialers[Symbol.dispose]();
    expect(made.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    expect(clock.pendingTimers).toBe(0);
  });
});
