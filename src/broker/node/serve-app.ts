import type { IncomingMessage } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { HttpHandler } from '../../base/server/guarded-http.ts';
import { upgradeHandler, type UpgradeParts } from './upgrade.ts';

/** Lets an app answer the requests and upgrade requests of a listener. */
export function serveApp(parts: UpgradeParts): HttpHandler {
  const { app, peerOf } = parts;
  const listener = getRequestListener(
    (request, { incoming }) => app.fetch(request, { peer: peerOf(incoming as IncomingMessage) }),
    { overrideGlobalObjects: false },
  );
  return {
    onRequest: (message, response) => void listener(message, response),
    onUpgrade: upgradeHandler(parts),
  };
}
