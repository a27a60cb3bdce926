import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { LivenessCheck } from '../../src/broker/liveness-check.ts';
import { relayLimits } from '../../src/broker/relay-options.ts';
import type { Link } from '../../src/tunnel/link.ts';

const pingedAtMs = 1_000;

/** What a check finds whose timer fires `lateMs` too late, after bytes that came at `heardAtMs`. */
function verdict(heardAtMs: number, lateMs: number): string[] {
  let nowMs = pingedAtMs;
  let onTimer = () => {};
  const clock: Clock = {
    now: () => nowMs,
    setTimer(_, run) {
      onTimer = run;
      return { cancel() {}, restart() {} };
    },
  };
  const link: Pick<Link, 'sendCopy' | 'silentMs'> = {
    sendCopy() {},
    get silentMs() {
      return nowMs - heardAtMs;
    },
  };
  const verdicts: string[] = [];
  new LivenessCheck(link as Link, clock).start(
    () => verdicts.push('alive'),
    () => verdicts.push('dead'),
  );
  nowMs += relayLimits.livenessTimeoutMs + lateMs;
  onTimer();
  return verdicts;
}

describe('A liveness check without PONG', () => {
  it('A liveness check without PONG finds an agent alive that sent other bytes after the PING', () => {
    expect(verdict(pingedAtMs + 10, 0)).toEqual(['alive']);
    expect(verdict(pingedAtMs + 10, 20)).toEqual(['alive']);
  });

  it('A liveness check without PONG finds an agent dead whose last bytes came before the PING', () => {
    expect(verdict(pingedAtMs - 10, 0)).toEqual(['dead']);
    expect(verdict(pingedAtMs - 10, 20)).toEqual(['dead']);
  });
});
