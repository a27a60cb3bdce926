import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort, type Program } from '../../testkit/processes/process.ts';
import {
  logged,
  loggedLine,
  startCulvert,
  startWorld,
  timesLogged,
} from '../../testkit/world/world.ts';

const commonArgs = ['--status-listen', '127.0.0.1:0'];
const soon = { timeout: 30_000 };

/** Asks a program's readiness endpoint. */
async function readiness(program: Program): Promise<{ status: number; text: string }> {
  const address = await logged(program, 'status listens', 'address');
  const response = await fetch(`http://${address}/readyz`);
  return { status: response.status, text: await response.text() };
}

describe('Readiness', { timeout: 90_000 }, () => {
  it('The readiness of a bridge is refused with the reason while its token file is empty, and follows the file', async () => {
    await using world = await startWorld({ bridgeApart: true, commonArgs });
    await expect.poll(() => readiness(world.bridge), soon).toMatchObject({ status: 200 });
    const tokenFile = await world.tokens.file('');
    const { program } = await world.startBridge(tokenFile);
    await expect
      .poll(() => readiness(program), soon)
      .toMatchObject({ status: 503, text: expect.stringContaining('is empty') });
    expect((await loggedLine(program, 'broker not reached, dials fail'))['level']).toBe('warn');
    await writeFile(tokenFile, await world.tokens.issue({ kind: 'dialer', name: 'late' }));
    await expect.poll(() => readiness(program), soon).toMatchObject({ status: 200 });
    expect(timesLogged(program, 'broker not reached, dials fail')).toBe(1);
  });

  it('The readiness of a broker with --cluster is refused until an agent of that cluster is connected', async () => {
    await using world = await startWorld({ plain: true, commonArgs });
    const port = await freePort();
    const socket = join(world.directory, 'single.sock');
    const only = ['--konnectivity-uds', socket, '--cluster', 'cluster1'];
    const keys = ['--token-public-key', world.tokens.publicKeyFile];
    const listen = ['--listen', `127.0.0.1:${port}`];
    await using broker = startCulvert('broker', [...listen, ...keys, ...only, ...commonArgs]);
    await loggedLine(broker, 'broker listens');
    const noAgent = { status: 503, text: expect.stringContaining('no agent') };
    expect(await readiness(broker)).toMatchObject(noAgent);
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const agent = world.startAgent(await world.tokens.file(token), {
      url: `ws://127.0.0.1:${port}`,
    });
    await expect.poll(() => readiness(broker), soon).toMatchObject({ status: 200 });
    agent.kill('SIGKILL');
    await expect.poll(() => readiness(broker), soon).toMatchObject(noAgent);
  });
});
