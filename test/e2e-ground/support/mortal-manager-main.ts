// The addon manager, killed at every write and started again. This is a process of its own, because
// only a process in the hub's network can reach the API server. Argument: a file with
// MortalManagerOptions. Prints a line of JSON (MortalManagerEvent) for each event. Ends on SIGTERM,
// or when the manager ends by itself.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeKubeconfig } from '../../../testkit/ground/kubernetes/kubeconfig.ts';
import { KillingProxy } from './killing-proxy.ts';
import type { MortalManagerEvent, MortalManagerOptions } from './mortal-manager.ts';

/** A manager that has written nothing for this time has nothing left to write. In milliseconds. */
const quietMs = 3000;
const pollMs = 100;

const options = JSON.parse(await readFile(process.argv[2]!, 'utf8')) as MortalManagerOptions;
let manager: ChildProcess | undefined;
process.once('SIGTERM', () => {
  manager?.kill('SIGKILL');
  process.exit(0);
});

const killed = new WeakSet<ChildProcess>();
const proxy = new KillingProxy({
  server: new URL(options.server),
  ca: await readFile(options.caFile, 'utf8'),
  kill: async (step) => {
    const victim = manager!;
    killed.add(victim);
    const gone = once(victim, 'exit');
    victim.kill('SIGKILL');
    await gone;
    say({ t: 'killed', step });
  },
});
const kubeconfig = await writeKubeconfig(join(options.directory, 'kubeconfig'), {
  url: `http://127.0.0.1:${await proxy.listen()}`,
  caFile: options.caFile,
  credentials: { token: options.token },
});
void watch();
for (;;) {
  manager = start();
  await once(manager, 'exit');
  if (killed.has(manager)) continue;
  console.error('the manager ended by itself');
  process.exit(1);
}

function start(): ChildProcess {
  // It ends with this process, whatever becomes of that.
  const args = ['--pdeathsig', 'KILL', '--', ...options.command, `--kubeconfig=${kubeconfig}`];
  const env = { ...process.env, ...options.env };
  return spawn('setpriv', args, { stdio: ['ignore', process.stderr.fd, process.stderr.fd], env });
}

/** Reports once per life of the manager that it is idle. */
async function watch(): Promise<void> {
  let seen = { life: manager, passed: -1, atMs: 0, isSaid: false };
  for (;;) {
    await sleep(pollMs);
    const { passed } = proxy;
    if (seen.life !== manager || seen.passed !== passed) {
      seen = { life: manager, passed, atMs: Date.now(), isSaid: false };
    }
    if (passed === 0 || seen.isSaid || Date.now() - seen.atMs < quietMs) continue;
    seen.isSaid = true;
    say({ t: 'quiet', passed });
  }
}

function say(event: MortalManagerEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}
