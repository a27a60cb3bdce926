import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { defaultTlsPolicy } from '../../src/base/tls/tls-policy.ts';
import { trustClientsOf } from '../../src/base/tls/tls-trust.ts';
import {
  type BareBrokerOptions,
  controlProtocol,
  relayProtocol,
  sharedProtocol,
} from './bare-protocol.ts';
import { BareGrpc } from './bare-grpc.ts';
import { joinGrpc, shareGrpc } from './join-grpc.ts';
import { pipeSockets } from './pipe-sockets.ts';

import { SharedLink, shareSocket } from './shared-link.ts';

// The first process of the bare chain. Its TLS options are the broker's.

const options = JSON.parse(process.argv[2] ?? '') as BareBrokerOptions;
const idleLinks: TLSSocket[] = [];
/** Clients that wait for a link of their own. */
const waiting: ((link: TLSSocket) => void)[] = [];
/** What to do when the target is connected, in the order of the dials. */
const dialing: (() => void)[] = [];
let control: TLSSocket | undefined;
let sharedLink: SharedLink | undefined;
let lastId = 0;

const front = tlsServer(options.clientCa, ['h2', 'http/1.1'], (client) => {
  waiting.push((link) => {
    link.write(client.alpnProtocol === 'h2' ? '2' : '1');
    pipeSockets(client, link);
  });
  join();
});
const grpc = tlsServer(options.clientCa, ['h2'], (client) => {
  joinGrpc(client, (use) => {
    waiting.push((link) => {
      link.write('1');
      use(link);
    });
    join();
  });
});
const sharing = tlsServer(options.clientCa, ['h2', 'http/1.1'], (client) => {
  if (client.alpnProtocol === 'h2') shareGrpc(client, ++lastId, sharedLink!);
  else shareSocket(client, ++lastId, sharedLink!);
});
const dials = tlsServer(options.clientCa, ['h2', 'http/1.1'], (client) => {
  const dial = (onOpened: () => void): void => {
    dialing.push(onOpened);
    control?.write('o');
    client.on('close', () => control?.write('c'));
  };
  if (client.alpnProtocol === 'h2') {
    const onDial = () => dial(() => server.opened());
    const server = new BareGrpc(client, { onDial, onPayload: () => true, onRoom() {} });
    return;
  }
  client.resume();
  dial(() => client.write('.'));
});
const linkProtocols = [relayProtocol, sharedProtocol, controlProtocol];
const links = tlsServer(options.agentCa, linkProtocols, (link) => {
  if (link.alpnProtocol === sharedProtocol) {
    sharedLink = new SharedLink(link, () => {});
    return;
  }
  if (link.alpnProtocol === controlProtocol) {
    control = link;
    // Each byte is a connection to the target.
    link.on('data', (opened) => {
      for (let count = opened.length; count > 0; count--) dialing.shift()?.();
    });
    return;
  }
  link.on('close', () => {
    const at = idleLinks.indexOf(link);
    if (at >= 0) idleLinks.splice(at, 1);
  });
  idleLinks.push(link);
  join();
});

/** Gives each waiting client a link. The first byte of a link tells the client's version of HTTP. */
function join(): void {
  while (idleLinks.length > 0 && waiting.length > 0) waiting.shift()!(idleLinks.shift()!);
}

function tlsServer(
  clientCa: string | undefined,
  protocols: string[],
  onSocket: (socket: TLSSocket) => void,
): Server {
  const server = createServer({
    cert: readFileSync(options.cert),
    key: readFileSync(options.key),
    ...defaultTlsPolicy,
    ...(clientCa !== undefined && trustClientsOf(readFileSync(clientCa, 'utf8'))),
    requestCert: clientCa !== undefined,
    rejectUnauthorized: true,
    ALPNProtocols: protocols,
    noDelay: true,
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy());
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  return server;
}

async function portOf(server: Server): Promise<number> {
  if (!server.listening) await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const ports = {
  front: await portOf(front),
  sharing: await portOf(sharing),
  grpc: await portOf(grpc),
  dials: await portOf(dials),
  links: await portOf(links),
};
console.log(`bare broker listens on ${JSON.stringify(ports)}`);
