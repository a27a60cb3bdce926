import { fileURLToPath } from 'node:url';

/** The broker's Worker on this machine's workerd. */
export interface LocalWorker extends AsyncDisposable {
  /** Where agents and dialers connect: `ws://`. */
  readonly url: string;
  /** Puts the object of a cluster to sleep as the platform does with an idle one: its sockets stay, its memory goes. */
  putToSleep(cluster: string): Promise<void>;
  /** Drops the sockets of a cluster's object without a word, as a new version of the Worker does. */
  dropSockets(cluster: string): Promise<void>;
  /** What the Worker and its objects have logged so far. */
  logLines(): readonly string[];
}

/** Keeps wrangler from asking the network for anything, and from writing logs of its own. */
export const offlineEnv: Readonly<Record<string, string>> = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_WRITE_LOGS: 'false',
  X_LOCAL_EXPLORER: 'false',
  DO_NOT_TRACK: '1',
};

const signals = ['SIGINT', 'SIGTERM'] as const;
const configPath = fileURLToPath(new URL('../wrangler.toml', import.meta.url));

/**
 * Starts what wrangler.toml describes, on a loopback port of the system's choice.
 *
 * @param vars the Worker's variables
 */
export async function startLocalWorker(
  vars: Readonly<Record<string, string>>,
): Promise<LocalWorker> {
  Object.assign(process.env, offlineEnv);
  const ours = signals.map((signal) => new Set(process.listeners(signal)));
  const { createTestHarness } = await import('wrangler');
  const harness = createTestHarness({ workers: [{ configPath, vars: { ...vars } }] });
  try {
    const { url } = await harness.listen();
    // It would exit in the middle of our own orderly end; its hook on `exit` ends workerd all the same.
    for (const [i, signal] of signals.entries()) {
      for (const listener of process.listeners(signal)) {
        if (!ours[i]!.has(listener)) process.off(signal, listener);
      }
    }
    const evict = (name: string, webSockets: 'hibernate' | 'close') =>
      harness.getWorker().evictDurableObject('ClusterObject', { name, webSockets });
    return {
      url: `ws://${url.host}`,
      putToSleep: (name) => evict(name, 'hibernate'),
      dropSockets: (name) => evict(name, 'close'),
      logLines: () => harness.getLogs().map(({ message }) => message),
      [Symbol.asyncDispose]: () => harness.close(),
    };
  } catch (thrown) {
    await harness.close();
    throw thrown;
  }
}
