import type { Socket } from 'node:net';

const sentence =
  'This socket speaks gRPC over HTTP/2, not HTTP CONNECT. Set "proxyProtocol: GRPC" in the egress selector configuration.';

const refusal = [
  'HTTP/1.1 501 Not Implemented',
  'Content-Type: text/plain',
  `Content-Length: ${sentence.length + 1}`,
  'Connection: close',
  '',
  `${sentence}\n`,
].join('\r\n');

/**
 * Answers a client that has not negotiated HTTP/2, such as a kube-apiserver with `proxyProtocol:
 * HTTPConnect`, with the setting that it needs, and hangs up. Only for TLS, because nothing is
 * negotiated without it. Reading the first bytes before node:http2 does would cost uploads a third
 * of their speed.
 */
export function refuseHttp1(socket: Socket): void {
  socket.on('error', () => {});
  socket.end(refusal, () => socket.destroy());
}
