import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Secret } from '../../src/base/secret.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import type { RunningBroker } from '../../src/broker/node/running-broker.ts';
import type { BrokerOptions } from '../../src/broker/node/options.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { describeBroker, type BrokerUnderTest } from '../contracts/broker.contract.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startRedis } from '../../testkit/ground/services.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { TestTokens } from '../../testkit/world/world.ts';

const { options: alone } = readBrokerOptions(['--accept-rate=1000', '--drain-timeout=1s'], {});

async function makeBroker(
  options: Partial<BrokerOptions> & Pick<BrokerOptions, 'tokenPublicKey'>,
): Promise<RunningBroker> {
  const listen = { host: '127.0.0.1', port: 0 };
  const replicaId = `replica-${crypto.randomUUID().slice(0, 8)}`;
  return await startBroker({ ...alone, listen, replicaId, ...options }, { log: silentLogger });
}

describeBroker('one Node process', async (): Promise<BrokerUnderTest> => {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-broker-'));
  const tokens = await TestTokens.create(directory);
  const broker = await makeBroker({ tokenPublicKey: [tokens.publicKeyFile] });
  return {
    agentUrl: broker.url,
    dialerUrl: broker.url,
    issueToken: (subject, ttlMs) => tokens.issue(subject, ttlMs),
    async [Symbol.asyncDispose]() {
      await broker.close();
      await rm(directory, { recursive: true });
    },
  };
});

describeWith({ redis: await ground.debian('redis-server') }, 'with Redis', ({ redis }) => {
  describeBroker('three Node replicas, entered by one that does not hold the agent', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-replicas-'));
    const tokens = await TestTokens.create(directory);
    const replicaKeyFile = join(directory, 'replica.key');
    await writeFile(replicaKeyFile, crypto.randomUUID());
    const store = await startRedis(redis);
    const makeReplica = async (): Promise<RunningBroker> => {
      const port = await freePort();
      return makeBroker({
        tokenPublicKey: [tokens.publicKeyFile],
        listen: { host: '127.0.0.1', port },
        redisUrl: new Secret(`redis://127.0.0.1:${store.port}`),
        replicaAddress: new URL(`ws://127.0.0.1:${port}`),
        replicaKeyFile,
      });
    };
    const [first, second, third] = [await makeReplica(), await makeReplica(), await makeReplica()];
    return {
      agentUrl: first.url,
      dialerUrl: third.url,
      issueToken: (subject, ttlMs) => tokens.issue(subject, ttlMs),
      async [Symbol.asyncDispose]() {
        await Promise.all([first.close(), second.close(), third.close()]);
        await store[Symbol.asyncDispose]();
        await rm(directory, { recursive: true });
      },
    };
  });
});
