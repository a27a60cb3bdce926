import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { KonnectivityError } from './konnectivity-error.ts';

/**
 * Removes the socket that a killed bridge has left at `path`. Removes nothing but a socket without
 * a listener.
 *
 * @throws KonnectivityError `listen_failed` if there is a file of another kind, or a socket with a
 *   listener
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new KonnectivityError('listen_failed', `cannot look at ${path}: ${error.message}`, {
      cause: error,
    });
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new KonnectivityError(
      'listen_failed',
      `${path} is not a socket: remove it or choose another path`,
    );
  }
  if (await isListening(path)) {
    throw new KonnectivityError(
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
    // A full backlog or missing rights mean that there is a listener. Only a refusal means that
    // there is none.
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}

/**
 * Runs `bind`, which creates the socket, with mode 0770 from the first moment: only owner and group
 * can connect.
 */
export function withSocketMode(bind: () => void): void {
  const before = process.umask(0o007);
  try {
    bind();
  } finally {
    process.umask(before);
  }
}
