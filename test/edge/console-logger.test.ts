import { afterEach, describe, expect, it, vi } from 'vitest';
import { createConsoleLogger } from '../../src/broker/edge/console-logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

afterEach(() => void vi.restoreAllMocks());

/** Fields that no program logs. */
const withSecret = (fields: Record<string, unknown>): LogFields => fields;

describe('The console logger', () => {
  it('The console logger hides credentials and cuts long texts, as on Node', () => {
    const write = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const log = createConsoleLogger('info', withSecret({ token: 'sesame', replica: 'edge' }));
    log.child(withSecret({ password: 'sesame' })).warn('refused', { path: 'x'.repeat(14_000) });
    const line = String(write.mock.calls[0]![0]);
    expect(line).not.toContain('sesame');
    expect(line.length).toBeLessThan(1000);
    expect(JSON.parse(line)).toMatchObject({ level: 'warn', event: 'refused', replica: 'edge' });
  });
});
