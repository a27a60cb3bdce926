import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const synSent = '02';
const pollMs = 20;

/**
 * How many sockets of this machine try to connect to 127.0.0.1:`port` and have no answer yet
 * (Linux).
 */
async function connectingTo(port: number): Promise<number> {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n');
  return lines.filter((line) => {
    const [, , to, state] = line.trim().split(/\s+/);
    return to === remote && state === synSent;
  }).length;
}

/**
 * Resolves when `count` sockets try to connect to 127.0.0.1:`port`; rejects when the signal aborts
 * before.
 */
export async function untilConnecting(
  port: number,
  count: number,
  signal: AbortSignal = AbortSignal.timeout(5_000),
): Promise<void> {
  while ((await connectingTo(port)) !== count) await sleep(pollMs, undefined, { signal });
}
