import { readFile } from 'node:fs/promises';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { defaultTlsPolicy } from '../../src/base/tls/tls-policy.ts';
import { startFront } from '../../src/konnectivity/front-listener.ts';
import { defaultFrontLimits } from '../../src/konnectivity/front-limits.ts';
import { type AcceptCall, GrpcStatus } from '../../src/konnectivity/front.ts';
import type { CertificateFiles } from '../world/certificates.ts';

export interface EchoFront extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`, or `https:` with TLS. */
  readonly url: string;
}

/** The method of the front. Its calls send back what they receive, and end with their client. */
export const echoPath = '/ProxyService/Proxy';

const accept: AcceptCall = (stream) => ({
  onData: (bytes) => stream.send(Uint8Array.from(bytes)),
  onEnd: () => stream.end(GrpcStatus.ok),
  onSent: () => {},
  onClose: () => {},
});

/** A listener for HTTP/2, in the clear or with TLS, that does not ask for client certificates. */
export async function startEchoFront(files?: CertificateFiles): Promise<EchoFront> {
  const front = await startFront({
    listen: { host: '127.0.0.1', port: 0 },
    limits: defaultFrontLimits,
    clock: systemClock,
    log: silentLogger,
    clientRefused: () => {},
    connectionClosed: () => {},
    refuses: () => undefined,
    methods: new Map([[echoPath, accept]]),
    tls: files && {
      cert: await readFile(files.cert, 'utf8'),
      key: await readFile(files.key, 'utf8'),
      clientCa: undefined,
      choice: defaultTlsPolicy,
    },
  });
  const { hostname: host, port } = new URL(`tcp://${front.address}`);
  return {
    host,
    port: Number(port),
    url: `${files === undefined ? 'http' : 'https'}://${front.address}`,
    [Symbol.asyncDispose]: () => front.close(),
  };
}
