import { createSecureContext } from 'node:tls';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import type { Clock } from '../../base/clock.ts';
import { TokenVerifier } from '../../base/tokens/enrolment-token.ts';
import type { Logger } from '../../base/log/logger.ts';
import { ReloadedFiles, type ReloadStatus } from '../../base/files/reloaded-files.ts';
import { trustClientsOf } from '../../base/tls/tls-trust.ts';
import type { AgentCertificates } from '../agent-certificates.ts';
import { type Authenticator, openAuthenticator, refuseAll } from '../authenticator.ts';
import { TokenAuthenticator } from '../token-authenticator.ts';
import { type TokenReviewer, TokenReviewAuthenticator } from '../token-review-authenticator.ts';
import type { BrokerOptions } from './options.ts';
import type { TlsPolicy } from '../../base/tls/tls-policy.ts';

/** The credentials in the broker's files, as they are now. */
export interface Credentials extends Disposable {
  readonly authenticator: Authenticator;
  /** Certificate and key of the listener, and the CAs of client certificates; undefined: no TLS. */
  readonly tls: ReloadedFiles<ServerTls> | undefined;
  /** The files that are read again when they change. */
  readonly files: readonly ReloadStatus[];
}

export interface ServerTls extends TlsPolicy {
  readonly cert: string;
  readonly key: string;
  /**
   * The CAs that clients are told when they are asked for a certificate. Every certificate is
   * accepted, and the authenticators check it.
   */
  readonly ca?: string[];
  readonly secureOptions?: number;
}

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Reviews tokens at the hub cluster's API server; undefined: it may not be asked. */
  readonly reviewer: TokenReviewer | undefined;
}

/** @throws Error a file cannot be read, or does not hold what it should */
export async function openCredentials(options: BrokerOptions, parts: Parts): Promise<Credentials> {
  const keys = await openTokenKeys(options.tokenPublicKey, parts);
  const agentCa = await openAgentCa(options, parts);
  const tls = await openServerTls(options, parts);
  const files = [keys, agentCa, tls].filter((file) => file !== undefined);
  return {
    authenticator: await chain(keys, agentCa, parts),
    tls,
    files,
    [Symbol.dispose]() {
      for (const file of files) file[Symbol.dispose]();
    },
  };
}

async function chain(
  keys: ReloadedFiles<TokenVerifier> | undefined,
  agentCa: ReloadedFiles<AgentCertificates> | undefined,
  { reviewer, clock }: Parts,
): Promise<Authenticator> {
  if (keys === undefined && agentCa === undefined && reviewer === undefined) {
    return openAuthenticator;
  }
  let last: Authenticator =
    keys === undefined
      ? refuseAll('a credential is needed: the certificate of a registration, or a token')
      : new TokenAuthenticator(() => keys.value);
  if (reviewer !== undefined) last = new TokenReviewAuthenticator(reviewer, last, clock);
  if (agentCa === undefined) return last;
  const { CertificateAuthenticator } = await import('../certificate-authenticator.ts');
  return new CertificateAuthenticator(() => agentCa.value, last);
}

async function openTokenKeys(paths: readonly string[], { clock, log }: Parts) {
  if (paths.length === 0) return undefined;
  return await ReloadedFiles.open({
    what: 'public keys of enrolment tokens',
    paths,
    make: (pems) => TokenVerifier.fromPem(pems),
    clock,
    log,
  });
}

async function openAgentCa(
  { agentCa: path, agentCaCluster: onlyCluster }: BrokerOptions,
  { clock, log }: Parts,
) {
  if (path === undefined) return undefined;
  // The module takes a quarter of a second to load and some memory, so it is loaded only where it
  // is used.
  const { AgentCertificates } = await import('../agent-certificates.ts');
  return await ReloadedFiles.open({
    what: "CA of agents' certificates",
    paths: [path],
    make: ([bundle = '']) =>
      AgentCertificates.fromPem(readCaCertificates(bundle, 'clients'), { onlyCluster }),
    clock,
    log,
  });
}

async function openServerTls(options: BrokerOptions, { clock, log }: Parts) {
  const { tlsCert, tlsKey, agentCa, tlsPolicy } = options;
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  return await ReloadedFiles.open<ServerTls>({
    what: 'certificate and key of --listen',
    paths: [tlsCert, tlsKey, ...(agentCa === undefined ? [] : [agentCa])],
    make: ([cert = '', key = '', ca]) => {
      const tls = {
        cert,
        key,
        ...(ca === undefined ? {} : trustClientsOf(ca)),
        ...tlsPolicy,
      };
      // Throws where no server can be made, for example for a key that belongs to another
      // certificate.
      createSecureContext(tls);
      return tls;
    },
    clock,
    log,
  });
}
