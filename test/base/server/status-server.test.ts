import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { startStatusServer } from '../../../src/base/server/status-server.ts';

const listen = { host: '127.0.0.1', port: 0 };
const metrics = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' });

describe('the status server', () => {
  it('The status server answers probes and scrapers, and 404 to other paths', async () => {
    let problem: string | undefined = 'no tunnel yet';
    let degraded: string | undefined;
    await using server = await startStatusServer(
      listen,
      { unready: () => problem, degraded: () => degraded, metrics },
      silentLogger,
    );
    const ask = async (path: string) => {
      const answer = await fetch(`http://${server.address}${path}`);
      return `${answer.status} ${(await answer.text()).trim()}`;
    };
    expect(await ask('/healthz')).toBe('200 ok');
    expect(await ask('/readyz')).toBe('503 no tunnel yet');
    expect(await ask('/ready')).toBe('503 no tunnel yet');
    problem = undefined;
    expect(await ask('/ready')).toBe('200 ok');
    expect(await ask('/readyz?verbose')).toBe('200 ok');
    degraded = 'Redis is away';
    expect(await ask('/readyz')).toBe('200 ok, but degraded: Redis is away');
    expect(await ask('/metrics')).toBe('200 up 1');
    expect(await ask('/v1/status')).toBe('404 not found');
  });

  it('The status server fails at the start when its address is in use', async () => {
    const source = { unready: () => undefined, metrics };
    await using first = await startStatusServer(listen, source, silentLogger);
    const taken = { host: '127.0.0.1', port: Number(first.address.split(':')[1]) };
    await expect(startStatusServer(taken, source, silentLogger)).rejects.toThrow('EADDRINUSE');
  });

  it('The status server closes its connections when it closes, and can be closed twice', async () => {
    const source = { unready: () => undefined, metrics };
    const server = await startStatusServer(listen, source, silentLogger);
    await fetch(`http://${server.address}/healthz`);
    await Promise.all([server.close(), server.close()]);
    await expect(fetch(`http://${server.address}/healthz`)).rejects.toThrow('fetch failed');
  });
});
