import { fileURLToPath } from 'node:url';

/** The broker's Worker on this machine's workerd. */
export interface LocalWorker extends AsyncDisposable {
  /** Where agents and dialers connect: `ws://`. */
  readonly url: string;
  /** Hibernates a cluster's idle object, as the platform does. It keeps its sockets, not memory. */
  putToSleep(cluster: string): Promise<void>;
  /** Drops the sockets of a cluster's object without a close frame, as a new version does. */
  dropSockets(cluster: string): Promise<void>;
  /** Replaces the Worker by a new version with these variables, as a deployment does. */
  deploy(vars: Readonly<Record<string, string>>): Promise<void>;
  /** What the Worker and its objects have logged so far. */
  logLines(): readonly string[];
}

/** Prevents wrangler from using the network and from writing its own logs. */
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
 * Starts the Worker of wrangler.toml on a free loopback port.
 *
 * @param vars the Worker's variables
 */
export async function startLocalWorker(
  vars: Readonly<Record<string, string>>,
): Promise<LocalWorker> {
  Object.assign(process.env, offlineEnv);
  const ours = signals.map((signal) => new Set(process.listeners(signal)));
  const { createTestHarness } = await import('wrangler');
  const version = (its: typeof vars) => ({ workers: [{ configPath, vars: { ...its } }] });
  const harness = createTestHarness(version(vars));
  try {
    const { url } = await harness.listen();
    // wrangler's handler would exit during our shutdown. Its hook on `exit` still ends workerd.
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
      deploy: (next) => harness.update(version(next)),
      logLines: () => harness.getLogs().map(({ message }) => message),
      [Symbol.asyncDispose]: () => harness.close(),
    };
  } catch (thrown) {
    await harness.close();
    throw thrown;
  }
}
