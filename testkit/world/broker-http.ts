import { readFile } from 'node:fs/promises';
import { get as getPlain, type IncomingMessage } from 'node:http';
import { get as getTls } from 'node:https';
import { text } from 'node:stream/consumers';
import type { World } from './world.ts';

export interface BrokerAnswer {
  readonly status: number;
  readonly body: string;
}

/** GETs a path of the world's broker, over a connection of its own. */
export async function askBroker(world: World, path: string, token?: string): Promise<BrokerAnswer> {
  const url = new URL(path, world.brokerUrl.replace('ws', 'http'));
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const ca = await readFile(world.certificates.server.ca);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const options = { headers, agent: false } as const;
  const request =
    url.protocol === 'https:'
      ? getTls(url, { ...options, ca }, resolve)
      : getPlain(url, options, resolve);
  request.on('error', reject);
  const response = await promise;
  return { status: response.statusCode!, body: await text(response) };
}
