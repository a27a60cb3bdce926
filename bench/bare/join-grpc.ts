import type { Socket } from 'node:net';
import { SocketSender } from '../../src/base/net/socket-sender.ts';
import { BareGrpc } from './bare-grpc.ts';
import { readInto } from './pipe-sockets.ts';
import type { SharedEnd, SharedLink } from './shared-link.ts';

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

/** Serves a Go konnectivity client, whose connection shares `link` under the number `id`. */
export function shareGrpc(client: Socket, id: number, link: SharedLink): void {
  const server = new BareGrpc(client, {
    onDial() {
      link.add(id, end);
      server.opened();
    },
    onPayload: (bytes, begin, stop) => link.send(id, end, bytes.subarray(begin, stop)),
    onRoom: () => link.onRoom(end),
  });
  const end: SharedEnd = {
    write: (bytes, begin, stop) => server.send(bytes.subarray(begin, stop)),
    resume: () => server.resume(),
    close: () => client.destroy(),
  };
  client.on('close', () => link.remove(id, end));
}
