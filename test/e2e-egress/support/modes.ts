import { join } from 'node:path';
import { socketPath } from './culvert-egress.ts';
import type { EgressConnection, HubFiles } from './hub.ts';

/** A protocol and transport of the egress selector. */
export interface EgressMode {
  readonly name: string;
  readonly connection: (files: HubFiles) => Promise<EgressConnection>;
  /** The flags of the bridge's listener. */
  readonly frontArgs: (files: HubFiles) => readonly string[];
}

export const grpcOverUds: EgressMode = overUds('GRPC');

/** Every mode of kube-apiserver. It has no GRPC over TCP. */
export const egressModes: readonly EgressMode[] = [
  grpcOverUds,
  overUds('HTTPConnect'),
  httpConnectOverTls(),
];

function overUds(proxyProtocol: 'GRPC' | 'HTTPConnect'): EgressMode {
  return {
    name: `${proxyProtocol} over a Unix socket`,
    connection: async (files) => ({
      proxyProtocol,
      transport: { uds: { udsName: socketPath(files) } },
    }),
    frontArgs: (files) => ['--konnectivity-uds', socketPath(files)],
  };
}

function httpConnectOverTls(): EgressMode {
  const address = '127.0.0.1:8131';
  const front = ({ pki }: HubFiles) => join(pki.directory, 'front');
  return {
    name: 'HTTPConnect over TLS',
    connection: async ({ pki }) => {
      const ipAddresses = ['127.0.0.1'];
      await pki.issue({ name: 'front', user: 'front', ipAddresses });
      const client = await pki.issue({ name: 'front-client', user: 'kube-apiserver' });
      const tlsConfig = { caBundle: pki.ca.cert, clientKey: client.key, clientCert: client.cert };
      return {
        proxyProtocol: 'HTTPConnect',
        transport: { tcp: { url: `https://${address}`, tlsConfig } },
      };
    },
    frontArgs: (files) => [
      ...['--konnectivity-listen', address, '--konnectivity-client-ca', files.pki.ca.cert],
      ...['--konnectivity-tls-cert', `${front(files)}.crt`],
      ...['--konnectivity-tls-key', `${front(files)}.key`],
    ],
  };
}
