import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import type { IncomingRequest } from '../admitted-request.ts';
import { GatewayError } from '../gateway-error.ts';
import type { ForwardedClient } from '../request-headers.ts';

/** Fields that the network in front of the Worker adds. They mean nothing to a cluster. */
const networkFields = /^(?:cf-.*|cdn-loop|x-real-ip)$/;

/** Fields of the client's own WebSocket handshake. The gateway makes one of its own. */
const handshakeFields: ReadonlySet<string> = new Set([
  'connection',
  'upgrade',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-extensions',
]);

/** Fields that may occur several times, and whose values may contain the separator. */
const repeatedFields = /^impersonate[-_](?:group|extra[-_].*)$/;

/**
 * The request target of a request, as the runtime gives it: backslashes and dot segments are
 * resolved already.
 */
export function targetOf(url: string): string {
  const slash = url.indexOf('/', url.indexOf('//') + 2);
  return slash < 0 ? '/' : url.slice(slash);
}

/**
 * Reads a request of the runtime.
 *
 * @param ownField a header field, in lower case, that the Worker has added
 * @throws GatewayError `BadRequest` the runtime has made it ambiguous, or it asks for what the edge
 *   cannot do
 */
export function readWorkerRequest(
  request: Request,
  client: ForwardedClient,
  ownField: string,
): IncomingRequest {
  const { method, url, body } = request;
  const upgrade = upgradeOf(request.headers);
  const headers: [string, string][] = [];
  for (const [name, value] of request.headers) {
    if (name === ownField || networkFields.test(name)) continue;
    if (upgrade !== undefined && handshakeFields.has(name)) continue;
    // Without a body, a length would let the server wait for one.
    if (name === 'content-length' && body === null) {
      if (value !== '0') throw bad(`the method ${method} has no body on the edge`);
      continue;
    }
    if (repeatedFields.test(name) && value.includes(', ')) {
      throw bad(
        `on the edge, several ${name} headers and one with a comma in its value cannot be told apart, so at most one without ", " is allowed`,
      );
    }
    headers.push([name, fieldBytes(value)]);
  }
  if (upgrade !== undefined) {
    headers.push(['Connection', 'Upgrade'], ['Upgrade', 'websocket']);
  }
  return { method, target: targetOf(url), headers, client, hasBody: body !== null };
}

/**
 * @throws GatewayError `BadRequest` the client asks for SPDY or another protocol that the runtime
 *   does not have
 */
function upgradeOf(headers: Headers): 'websocket' | undefined {
  const protocol = headers.get('upgrade')?.trim().toLowerCase();
  if (protocol === 'websocket') return protocol;
  // Some networks remove `Upgrade`. Every SPDY client of Kubernetes names its versions as well.
  if (protocol?.startsWith('spdy/') === true || headers.has('x-stream-protocol-version')) {
    throw bad(
      'SPDY is not possible on the edge, use WebSocket: kubectl 1.31 and later do so by default, 1.29 and 1.30 with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true',
    );
  }
  // A server may ignore an upgrade (RFC 9110, section 7.8). `curl --http2` offers h2c.
  return undefined;
}

/** The value with one character per byte, as an exchange carries it. */
function fieldBytes(value: string): string {
  if (/^[\x20-\x7e\t]*$/.test(value)) return value;
  return Array.from(new TextEncoder().encode(value), (byte) => String.fromCharCode(byte)).join('');
}

/** The text of a value that has one character per byte. */
function fieldText(value: string): string {
  if (/^[\x20-\x7e\t]*$/.test(value)) return value;
  return new TextDecoder().decode(Uint8Array.from(value, (char) => char.charCodeAt(0)));
}

/** The fields for the runtime. Fields with the same name stay apart. */
export function runtimeHeaders(list: HeaderList): Headers {
  const headers = new Headers();
  for (const [name, value] of list) headers.append(name, fieldText(value));
  return headers;
}

function bad(sentence: string): GatewayError {
  return new GatewayError('BadRequest', sentence, { hop: 'client' });
}
