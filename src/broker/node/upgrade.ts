import type { Hono } from 'hono';
import { describeError } from '../../base/error.ts';
import type { UpgradeRequest } from '../../base/server/guarded-http.ts';
import type { RequestProblem } from '../../base/server/http-request-problem.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { acceptWebSocket, rejectUpgrade } from '../../websocket/accept.ts';
import type { RequestRuntime } from '../app.ts';
import type { Peer } from '../authenticator.ts';

export interface UpgradeParts {
  readonly app: Hono<{ Bindings: RequestRuntime }>;
  readonly log: Logger;
  readonly peerOf: (message: UpgradeRequest['message']) => Peer;
  /** Told of each connection that has been let in, before its link is used. */
  readonly onAdmitted: (socket: UpgradeRequest['socket']) => void;
}

/**
 * Brings upgrade requests to the app, whose answer decides: a Response of Node cannot be a 101, so the app calls `upgrade` and
 * this half does the handshake afterwards.
 *
 * @returns what to call for each of them
 */
export function upgradeHandler(
  parts: UpgradeParts,
): (request: UpgradeRequest, problem: RequestProblem | undefined) => void {
  return (request, problem) => {
    const { socket } = request;
    if (problem !== undefined) {
      const { status, message } = problem;
      const body = JSON.stringify({ code: 'protocol_error', message });
      rejectUpgrade(socket, status, { 'Content-Type': 'application/json' }, body);
      return;
    }
    handleUpgrade(request, parts).catch((thrown: unknown) => {
      parts.log.error('upgrade failed', { error: describeError(thrown) });
      socket.destroy();
    });
  };
}

async function handleUpgrade(
  { message, socket, head }: UpgradeRequest,
  { app, peerOf, onAdmitted }: UpgradeParts,
): Promise<void> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  // Only the path counts; the authority is whatever an ingress made of it.
  const request = new Request(new URL(message.url ?? '/', 'http://broker'), { headers });
  let admitted: ((link: AttachableLink) => void) | undefined;
  let answered: Readonly<Record<string, string>> = {};
  const response = await app.fetch(request, {
    peer: peerOf(message),
    upgrade(admit, added = {}) {
      admitted = admit;
      answered = added;
      return new Response(null, { status: 204 });
    },
  });
  if (admitted === undefined) {
    const answer = Object.fromEntries(response.headers);
    return rejectUpgrade(socket, response.status, answer, await response.text());
  }
  const link = acceptWebSocket(message, socket, head, { headers: answered });
  if (link === undefined) return;
  onAdmitted(socket);
  admitted(link);
}
