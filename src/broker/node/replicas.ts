import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { ReloadedFiles } from '../../base/reloaded-files.ts';
import { readSecretFile } from '../../base/secret-file.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { connectWebSocket } from '../../websocket/connect.ts';
import { proofHeader } from '../authenticator.ts';
import type { Directory } from '../directory.ts';
import type { Forward } from '../hub-options.ts';
import { MemoryDirectory } from '../memory-directory.ts';
import { isAnswer, ReplicaKey } from '../replica-authenticator.ts';
import type { BrokerOptions } from './options.ts';
import { RedisDirectory } from './redis-directory.ts';

/** How long the owner of a session may take to answer, in milliseconds. */
const forwardTimeoutMs = 5_000;

/** What a broker shares with its replicas; a broker that is alone shares nothing. */
export interface Replicas {
  readonly directory: Directory;
  readonly key: ReplicaKey | undefined;
  readonly forward: Forward | undefined;
  /** The CA of the other replicas, as it is at the moment. */
  readonly ca: ReloadedFiles<string> | undefined;
}

/** @throws Error when a file cannot be read or the Redis URL is malformed; a Redis that is away is no error */
export async function joinReplicas(options: BrokerOptions, log: Logger): Promise<Replicas> {
  const { redisUrl, redisCa, redisPrefix, replicaId, replicaKeyFile, replicaCa } = options;
  if (redisUrl === undefined || replicaKeyFile === undefined) {
    return { directory: new MemoryDirectory(), key: undefined, forward: undefined, ca: undefined };
  }
  const key = await ReplicaKey.fromText((await readSecretFile(replicaKeyFile)).reveal());
  const directory = await RedisDirectory.connect({
    redis: redisUrl.reveal(),
    ...(redisCa === undefined ? {} : { tls: { caFile: redisCa } }),
    keyPrefix: redisPrefix,
    replica: replicaId,
    clock: systemClock,
    log,
  });
  const ca = replicaCa === undefined ? undefined : await openCa(replicaCa, log);
  const forward = makeForward(key, () => ca?.value, options.replicaServerName);
  return { directory, key, forward, ca };
}

function openCa(path: string, log: Logger): Promise<ReloadedFiles<string>> {
  return ReloadedFiles.open({
    what: 'CA of the other replicas',
    paths: [path],
    make: ([ca = '']) => {
      if (!ca.includes('-----BEGIN CERTIFICATE-----'))
        throw new Error('there is no certificate in it');
      return ca;
    },
    clock: systemClock,
    log,
  });
}

/** Reaches other replicas at the addresses that the directory has for them. */
export function makeForward(
  key: ReplicaKey,
  ca: () => string | undefined,
  serverName: string | undefined,
): Forward {
  return async ({ address, replica }, { cluster, name }) => {
    try {
      const proof = await key.prove(address, name);
      const base = address.replace(/\/?$/, '/');
      return await connectWebSocket({
        url: new URL(`v1/clusters/${encodeURIComponent(cluster)}/session`, base),
        headers: proof.headers,
        // An entry in the directory may be forged: who answers there must be a replica before it gets a session's bytes.
        checkAnswer: (headers) =>
          isAnswer(headers.get(proofHeader.toLowerCase()), proof)
            ? undefined
            : 'it does not prove that it has the key of the replicas',
        ca: ca(),
        serverName,
        signal: AbortSignal.timeout(forwardTimeoutMs),
      });
    } catch (thrown) {
      const sentence = `replica ${replica} cannot be reached: ${describeError(thrown)}`;
      throw new TunnelError('link_lost', sentence, { cause: thrown });
    }
  };
}
