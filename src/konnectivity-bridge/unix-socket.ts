import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { BridgeError } from './bridge-error.ts';

/**
 * Removes what a bridge that was killed has left at `path`, and nothing else: only a socket on which nobody listens.
 *
 * @throws BridgeError `listen_failed` when something else is there
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new BridgeError('listen_failed', `cannot look at ${path}: ${error.message}`, {
      cause: error,
    });
  });
  if (!found) return;
  if (!found.isSocket()) {
    throw new BridgeError(
      'listen_failed',
      `${path} is not a socket: remove it or choose another path`,
    );
  }
  if (await isListening(path)) {
    throw new BridgeError(
      'listen_failed',
      `another program listens on ${path}: stop it or choose another path`,
    );
  }
  await unlink(path);
}

async function isListening(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // A full backlog or missing rights mean that somebody is there; only a refusal means that nobody is.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}

/** Runs `bind`, which creates the socket, so that only owner and group may connect (mode 0770), never anybody else before. */
export function withSocketMode(bind: () => void): void {
  const before = process.umask(0o007);
  try {
    bind();
  } finally {
    process.umask(before);
  }
}
