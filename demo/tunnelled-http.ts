import { type IncomingMessage, request } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Sends an HTTP request over an existing connection. Resolves with the head of the response. */
export async function send(
  connection: Duplex,
  { method = 'GET', path = '/', body = Readable.from([]) },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const createConnection = (): Duplex => connection;
  const outgoing = request({ method, path, host: 'demo', createConnection, signal });
  outgoing.on('error', reject).on('response', resolve);
  const [, response] = await Promise.all([pipeline(body, outgoing), promise]);
  return response;
}

/** The body of a response, as text. */
export async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const piece of response) text += piece as string;
  return text;
}
