import type { Socket } from 'node:net';
import { SocketSender } from '../../src/base/net/socket-sender.ts';
import { BareGrpc } from './bare-grpc.ts';
import { readInto } from './pipe-sockets.ts';

/**
 * Serves a Go konnectivity client, and joins its connection with a link of its own.
 *
 * @param take gets a link when the client dials
 */
export function joinGrpc(client: Socket, take: (use: (link: Socket) => void) => void): void {
  let link: Socket | undefined;
  let sender: SocketSender | undefined;
  const server = new BareGrpc(client, {
    onDial: () => take(start),
    onPayload(bytes, begin, end) {
      sender!.output.copy(bytes, begin, end);
      sender!.written();
      return sender!.room > 0;
    },
    onRoom: () => link?.resume(),
  });
  const start = (taken: Socket): void => {
    link = taken;
    const linkSender = new SocketSender(taken, {
      canPull: true,
      pull: () => server.resume(),
      onDrained() {},
    });
    sender = linkSender;
    taken.on('close', () => {
      linkSender.destroy();
      client.end();
    });
    client.on('close', () => taken.end());
    server.opened();
    readInto(taken, (bytes) => server.send(bytes));
  };
}
