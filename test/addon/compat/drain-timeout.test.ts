import { describe, expect, it } from 'vitest';
import { drainTimeoutMs } from '../../../src/addon/compat/additional-args.ts';
import { preStopSeconds, terminationGraceSeconds } from '../../../src/addon/hub/broker-args.ts';
import { processTable } from '../../../src/base/options/process-options.ts';
import { defaultOf } from '../../../src/base/options/read-options.ts';
import { configurationOf } from '../hub/hub-fixture.ts';

const flag = (value: string) => ({ name: processTable.drainTimeoutMs.name, value });

describe('drainTimeoutMs', () => {
  it('drainTimeoutMs without the flag is the default of the option --drain-timeout', () => {
    expect(drainTimeoutMs([{ name: 'log-level', value: '1h' }])).toBe(
      defaultOf(processTable.drainTimeoutMs),
    );
  });

  it('drainTimeoutMs takes the last flag', () => {
    expect(drainTimeoutMs([flag('1s'), flag('2m')])).toBe(120_000);
  });

  it('Pods of brokers without the flag have time for the delay, the default drain and 15 s', () => {
    const drainSeconds = defaultOf(processTable.drainTimeoutMs) / 1000;
    const expected = preStopSeconds + drainSeconds + 15;
    expect(terminationGraceSeconds(configurationOf())).toBe(expected);
  });
});
