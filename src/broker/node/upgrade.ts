import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { describeError } from '../../base/error.ts';
import type { UpgradeRequest } from '../../base/server/guarded-http.ts';
import type { RequestProblem } from '../../base/server/http-request-problem.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { acceptWebSocket, rejectUpgrade } from '../../websocket/accept.ts';
import type { AdmittedClient } from '../admitted-client.ts';
import type { RequestRuntime } from '../app.ts';
import type { Peer } from '../authenticator.ts';

/** A connection that a handler takes over after an upgrade request, before any answer. */
export interface RawUpgrade {
  readonly message: IncomingMessage;
  /** Has a listener for errors. */
  readonly socket: Duplex;
  /** Bytes after the request's head that have been read already. */
  readonly head: Uint8Array;
}

/** What Node adds to a request. */
export interface NodeRuntime extends RequestRuntime {
  /**
   * Hands the connection to `handler`, which answers the request itself and then owns the
   * connection: for protocols other than culvert links. Undefined: the request asks for no upgrade.
   */
  readonly acceptRaw?: (handler: (upgrade: RawUpgrade) => void) => Response;
}

export interface UpgradeParts {
  /** Its answer to an upgrade request decides. */
  readonly app: {
    fetch(request: Request, runtime: NodeRuntime): Response | Promise<Response>;
  };
  readonly log: Logger;
  readonly peerOf: (message: IncomingMessage) => Peer;
  /** Called with the link of each client that the app has accepted. */
  readonly onLink: (link: AttachableLink, client: AdmittedClient) => void;
}

/**
 * Brings upgrade requests to an app. On Node a Response cannot have the status 101. So the app
 * calls `acceptLink` or `acceptRaw`, and the upgrade happens after the app has returned.
 *
 * @returns the handler for upgrade requests
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

async function handleUpgrade(request: UpgradeRequest, parts: UpgradeParts): Promise<void> {
  const { message, socket, head } = request;
  let upgrade: (() => void) | undefined;
  const accept = (then: () => void): Response => {
    upgrade = then;
    return new Response(null, { status: 204 });
  };
  const response = await parts.app.fetch(toRequest(message), {
    peer: parts.peerOf(message),
    acceptLink: (client, headers = {}) =>
      accept(() => {
        const link = acceptWebSocket(message, socket, head, { headers });
        if (link === undefined) return;
        request.authenticated();
        parts.onLink(link, client);
      }),
    acceptRaw: (handler) =>
      accept(() => {
        request.authenticated();
        handler({ message, socket, head });
      }),
  });
  // A link over a socket that has closed before would never learn of it, and count forever.
  if (socket.destroyed) return;
  if (upgrade !== undefined) return upgrade();
  const answer = Object.fromEntries(response.headers);
  rejectUpgrade(socket, response.status, answer, await response.text());
}

function toRequest({ headers: received, url = '/' }: IncomingMessage): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  // Only the path counts, because an ingress may change the authority.
  return new Request(new URL(url, 'http://broker'), { headers });
}
