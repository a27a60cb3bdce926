import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { patternAt, patternSha256 } from '../../testkit/stream/pattern.ts';
import { freePort, runProgram, startProgram } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';

const node = (script: string, name = 'a script') => ({
  command: process.execPath,
  args: ['-e', script],
  name,
});

describe('a program of a test', () => {
  it('A wait for a line of a program also sees earlier lines', async () => {
    await using program = startProgram(node('console.log("port=42"); setInterval(() => {}, 1e6)'));
    const [, port] = await program.waitForLine(/port=(\d+)/);
    expect(port).toBe('42');
    expect((await program.waitForLine(/^port/))[0]).toBe('port');
  });

  it('A wait for the port of a program ends when it listens', async () => {
    const port = await freePort();
    const script = `require('net').createServer().listen(${port}, '127.0.0.1')`;
    await using program = startProgram(node(script));
    await program.waitForPort(port);
    expect(await program.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it("A wait fails with the program's name and output when the program ends too early", async () => {
    await using program = startProgram(
      node('console.error("no such flag"); process.exit(3)', 'it'),
    );
    await expect(program.waitForLine(/ready/)).rejects.toThrow(
      /it: ended with code 3 .*no such flag/s,
    );
  });

  it('A program is killed when it ignores SIGTERM', async () => {
    const script = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1e6)';
    const program = startProgram({ ...node(script), killAfterMs: 50 });
    await program.waitForLine(/up/);
    expect(await program.stop()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('A program stops when its signal aborts', async () => {
    const stop = new AbortController();
    const program = startProgram({ ...node('setInterval(() => {}, 1e6)'), signal: stop.signal });
    stop.abort();
    expect((await program.exited).signal).toBe('SIGTERM');
  });

  it('A program ends with a test process that is stopped by SIGTERM', async () => {
    const support = new URL('../../testkit/processes/process.ts', import.meta.url).href;
    const port = await freePort();
    const listen = `require('net').createServer().listen(${port}, '127.0.0.1')`;
    const script = `
      const { startProgram } = await import('${support}');
      const child = startProgram({ command: process.execPath, args: ['-e', ${JSON.stringify(listen)}] });
      await child.waitForPort(${port});
      console.log('child is up');
    `;
    const args = ['--input-type=module', '-e', script];
    const worker = startProgram({ command: process.execPath, args, name: 'a test process' });
    await worker.waitForLine(/child is up/);
    expect(await worker.stop()).toEqual({ code: null, signal: 'SIGTERM' });
    await expect.poll(() => isListening(port)).toBe(false);
  });

  it('A program that does not exist is reported by name', async () => {
    const run = runProgram({ command: '/no/such/program', name: 'ghost' });
    await expect(run).rejects.toThrow('ghost could not be started');
  });
});

describe('a target of a test', () => {
  it('A target reports what each connection sent, and whether it was closed or reset', async () => {
    await using sink = await startTarget({ mode: 'sink' });
    const closing = connect(sink.port, '127.0.0.1');
    closing.end(patternAt(0, 1000));
    expect(await sink.waitForReports(1)).toEqual([
      { receivedBytes: 1000, sha256: patternSha256(1000), end: 'fin' },
    ]);
    const cut = connect(sink.port, '127.0.0.1');
    await once(cut, 'connect');
    cut.resetAndDestroy();
    expect((await sink.waitForReports(2))[1]).toMatchObject({ receivedBytes: 0, end: 'reset' });
    expect(sink.openCount).toBe(0);
  });

  it('A target that never reads leaves the sent bytes in the connection', async () => {
    await using idle = await startTarget({ mode: 'never-reads' });
    await using sink = await startTarget({ mode: 'sink' });
    const [toIdle, toSink] = [connect(idle.port, '127.0.0.1'), connect(sink.port, '127.0.0.1')];
    toIdle.on('error', () => {});
    const bytes = Buffer.alloc(64 << 20);
    toIdle.end(bytes);
    toSink.end(bytes);
    await sink.waitForReports(1);
    expect(toIdle.writableFinished).toBe(false);
    expect(idle.openCount).toBe(1);
    toIdle.destroy();
  });
});

describe('an unanswering port', () => {
  it('An unanswering port neither accepts nor refuses a connection', async () => {
    await using silent = await startUnansweringPort();
    await using answering = await startTarget({ mode: 'echo' });
    const waiting = connect(silent.port, '127.0.0.1').on('error', () => {});
    // On loopback an answer is immediate: had there been one, it would have come before this one.
    await once(connect(answering.port, '127.0.0.1'), 'connect');
    expect(waiting.connecting).toBe(true);
    waiting.destroy();
  });
});

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
