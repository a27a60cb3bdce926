import { createSecureContext, type SecureContextOptions, TLSSocket } from 'node:tls';
import type { Socket } from 'node:net';
import type { CertificateIdentity } from '../../access/request-authenticator.ts';
import type { Clock } from '../../base/clock.ts';
import { ReloadedFiles } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { TlsPolicy } from '../../base/tls/tls-policy.ts';
import { trustClientsOf } from '../../base/tls/tls-trust.ts';

/** Paths of PEM files. */
export interface GatewayTlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** The CAs of client certificates; undefined: clients are asked for none. */
  readonly clientCaFile: string | undefined;
}

/**
 * Reads certificate, key and client CA, and reads them again when the files change.
 *
 * @throws Error a file cannot be read or used
 */
export async function openGatewayTls(
  { certFile, keyFile, clientCaFile }: GatewayTlsFiles,
  {
    policy,
    clock,
    log,
  }: { readonly policy: TlsPolicy; readonly clock: Clock; readonly log: Logger },
): Promise<ReloadedFiles<SecureContextOptions>> {
  return await ReloadedFiles.open<SecureContextOptions>({
    what: 'certificate, key and client CA of --gateway-listen',
    paths: [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])],
    make: ([cert = '', key = '', clientCa]) => {
      const trust = clientCa === undefined ? {} : trustClientsOf(clientCa);
      const tls = { cert, key, ...trust, ...policy };
      // Throws if a server cannot use them, for example a key of another certificate.
      createSecureContext(tls);
      return tls;
    },
    clock,
    log,
  });
}

/** The client's certificate, if one of the client CAs has issued it and it is valid now. */
export function certificateOf(socket: Socket): CertificateIdentity | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject, serialNumber } = socket.getPeerCertificate();
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  return {
    commonNames: named(subject?.CN),
    organizations: named(subject?.O),
    serial: serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
    // Node has one part per line, the first one first. RFC 4514 has the last one first.
    issuer: certificate.issuer.split('\n').toReversed().join(','),
    expiresAtMs: certificate.validToDate.getTime(),
  };
}

/** Node has a text for one value, and a list for several. */
function named(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}
