import type { AcceptConnection } from './client-connection.ts';

const sentence = 'This port takes gRPC over HTTP/2 only, for konnectivity agents.';

const refusal = Buffer.from(
  [
    'HTTP/1.1 501 Not Implemented',
    'Content-Type: text/plain',
    `Content-Length: ${sentence.length + 1}`,
    'Connection: close',
    '',
    `${sentence}\n`,
  ].join('\r\n'),
);

/** Answers a client that speaks HTTP/1 at a listener without a service for it, and hangs up. */
export const refuseHttp1: AcceptConnection = (connection) => {
  connection.send(refusal);
  connection.end();
  // What the client still sends is read and dropped. Unread bytes would make the kernel reset the
  // connection, and the answer would be lost.
  return { onData() {}, onSent() {}, onEnd() {}, onClose() {} };
};
