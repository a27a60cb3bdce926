import { systemClock } from '../../base/clock.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { ReloadedFiles, type ReloadStatus } from '../../base/files/reloaded-files.ts';
import { version } from '../../base/version.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { proofHeader } from '../authenticator.ts';
import type { Directory } from '../directory.ts';
import type { Forward } from '../relay-options.ts';
import { MemoryDirectory } from '../memory-directory.ts';
import { isAnswer, ReplicaKeys } from '../replica-keys.ts';
import type { BrokerOptions } from './options.ts';
import { RedisDirectory } from '../redis/redis-directory.ts';
import { isLoopback } from '../../base/net/host-port.ts';
import type { ServerRoute } from '../../base/net/server-route.ts';
import type { LinkConnector } from '../../tunnel/link-connector.ts';
import { WebSocketConnector } from '../../websocket/websocket-connector.ts';

/** How long the replica that holds a tunnel may take to answer, in milliseconds. */
const forwardTimeoutMs = 5_000;

/** What a broker shares with other replicas. A broker without other replicas shares nothing. */
export interface Replicas extends AsyncDisposable {
  readonly directory: Directory;
  /** The current keys; undefined: there are no other replicas. */
  readonly keys: (() => ReplicaKeys) | undefined;
  readonly forward: Forward | undefined;
  /** The files that are read again when they change. */
  readonly files: readonly ReloadStatus[];
}

/**
 * @throws Error a file cannot be read, or the Redis URL is malformed; a Redis that does not answer
 *   is no error
 */
export async function joinReplicas(options: BrokerOptions, log: Logger): Promise<Replicas> {
  const { redisUrl, redisCa, redisCert, redisKey, redisPrefix } = options;
  const { replicaId, replicaKeyFile, replicaCa } = options;
  if (redisUrl === undefined || replicaKeyFile === undefined) {
    const directory = new MemoryDirectory();
    const end = () => directory.close();
    return {
      directory,
      keys: undefined,
      forward: undefined,
      files: [],
      [Symbol.asyncDispose]: end,
    };
  }
  await using parts = new AsyncDisposableStack();
  const keyFile = parts.use(await openKeys(replicaKeyFile, log));
  const ca = replicaCa === undefined ? undefined : parts.use(await openCa(replicaCa, log));
  const directory = await RedisDirectory.connect({
    redis: redisUrl.reveal(),
    tls: {
      ...(redisCa !== undefined && { caFile: redisCa }),
      ...(redisCert !== undefined && { certFile: redisCert }),
      ...(redisKey !== undefined && { keyFile: redisKey }),
    },
    keyPrefix: redisPrefix,
    replica: replicaId,
    clock: systemClock,
    log,
  });
  parts.defer(() => directory.close());
  const keys = () => keyFile.value;
  const files = [keyFile, ...(ca === undefined ? [] : [ca]), ...directory.files];
  const forward = makeForward({
    keys,
    ca: () => ca?.value,
    serverName: options.replicaServerName,
    allowPlain: options.allowPlainReplicas,
  });
  const joined = parts.move();
  return { directory, keys, forward, files, [Symbol.asyncDispose]: () => joined.disposeAsync() };
}

function openKeys(path: string, log: Logger): Promise<ReloadedFiles<ReplicaKeys>> {
  return ReloadedFiles.open({
    what: 'keys of the replicas',
    paths: [path],
    make: ([text = '']) => ReplicaKeys.fromText(text),
    clock: systemClock,
    log,
  });
}

function openCa(path: string, log: Logger): Promise<ReloadedFiles<string>> {
  return ReloadedFiles.open({
    what: 'CA of the other replicas',
    paths: [path],
    make: ([ca = '']) => readCaCertificates(ca, 'servers'),
    clock: systemClock,
    log,
  });
}

/** @throws Error the address is not encrypted, and is not on loopback */
function checkEncrypted(address: string, allowPlain: boolean): void {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'wss:' || allowPlain || isLoopback(hostname)) return;
  throw new Error(
    `its address ${address} is not encrypted; give it a wss:// one, or allow this with --allow-plain-replicas`,
  );
}

export interface ForwardOptions {
  /** The current keys. */
  readonly keys: () => ReplicaKeys;
  /** PEM; undefined: the well-known CAs. */
  readonly ca: () => string | undefined;
  readonly serverName: string | undefined;
  /** Whether ws:// is allowed beyond loopback. */
  readonly allowPlain: boolean;
  /** Makes the links (default: over WebSockets). */
  readonly connector?: LinkConnector<ServerRoute>;
}

/** Reaches other replicas at the addresses that the directory has for them. */
export function makeForward({
  keys,
  ca,
  serverName,
  allowPlain,
  connector = new WebSocketConnector(),
}: ForwardOptions): Forward {
  return async ({ address, replica }, { cluster, name, isGateway }) => {
    try {
      checkEncrypted(address, allowPlain);
      const proof = await keys().prove(address, cluster, name, isGateway);
      const base = address.replace(/\/?$/, '/');
      const route: ServerRoute = {
        url: new URL(`v1/clusters/${encodeURIComponent(cluster)}/session`, base),
        headers: proof.headers,
        userAgent: `culvert-broker/${version}`,
        // An entry in the directory may be forged, so the server must prove that it is a replica
        // before it gets a session's bytes.
        checkAnswer: (headers) =>
          isAnswer(headers.get(proofHeader.toLowerCase()), proof)
            ? undefined
            : 'it does not prove that it has a key of the replicas',
        ca: ca(),
        serverName,
      };
      return await connector.connect(route, AbortSignal.timeout(forwardTimeoutMs));
    } catch (thrown) {
      const sentence = `replica ${replica} cannot be reached: ${describeError(thrown)}`;
      throw new TunnelError('link_lost', sentence, { cause: thrown });
    }
  };
}
