import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import {
  type BareAgentOptions,
  controlProtocol,
  relayProtocol,
  sharedProtocol,
} from './bare-protocol.ts';
import { pipeSockets } from './pipe-sockets.ts';
import { SharedLink, shareSocket } from './shared-link.ts';

// The second process of the bare chain.

/** As many links are open before their clients come. */
const idleLinks = 16;
const host = '127.0.0.1';

const options = JSON.parse(process.argv[2] ?? '') as BareAgentOptions;
const { target, certificate } = options;
const linkContext = createSecureContext({
  ca: readFileSync(options.brokerCa),
  cert: readFileSync(certificate.cert),
  key: readFileSync(certificate.key),
});
const targetContext =
  target.ca === undefined ? undefined : createSecureContext({ ca: readFileSync(target.ca) });

async function openControl(): Promise<void> {
  const control = await openLink(controlProtocol);
  const dialed: Socket[] = [];
  control.on('data', (orders) => {
    for (const order of orders.toString()) {
      if (order === 'o') {
        const socket = connect({ host, port: target.port, noDelay: true });
        socket.on('connect', () => control.write('.'));
        dialed.push(socket);
      } else {
        dialed.shift()?.destroy();
      }
    }
  });
}

async function openShared(): Promise<void> {
  const link = await openLink(sharedProtocol);
  const shared = new SharedLink(link, (id) => {
    const far = connect({ host, port: target.port, noDelay: true });
    far.on('error', () => far.destroy());
    shareSocket(far, id, shared);
  });
}

/** Opens a link, and another one when a client uses it. */
async function openRelay(): Promise<void> {
  const link = await openLink(relayProtocol);
  link.once('data', (bytes) => {
    link.pause();
    void openRelay();
    const far = connectTarget(bytes.subarray(0, 1).toString());
    far.on('error', () => link.destroy());
    far.once(targetContext === undefined ? 'connect' : 'secureConnect', () => {
      if (bytes.length > 1) far.write(bytes.subarray(1));
      pipeSockets(link, far);
    });
  });
}

/** @param version the client's version of HTTP, for a target with TLS */
function connectTarget(version: string): Socket {
  const { port } = target;
  const socket = connect({ host, port, noDelay: true });
  if (targetContext === undefined) return socket;
  const ALPNProtocols = [version === '2' ? 'h2' : 'http/1.1'];
  return connectTls({ socket, host, secureContext: targetContext, ALPNProtocols });
}

async function openLink(protocol: string): Promise<TLSSocket> {
  const socket = connect({ host, port: options.linkPort, noDelay: true });
  const secureContext = linkContext;
  const link = connectTls({ socket, host, secureContext, ALPNProtocols: [protocol] });
  await once(link, 'secureConnect');
  link.on('error', () => link.destroy());
  return link;
}

await openControl();
await openShared();
await Promise.all(Array.from({ length: idleLinks }, openRelay));
console.log('bare agent is ready');
