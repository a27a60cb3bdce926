import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { directoriesOf } from '../../testkit/ground/kubernetes/state.ts';
import { HubClient } from './support/client.ts';
import { entrypointValues, Installation } from './support/installation.ts';
import {
  agentCertificate,
  hubNamespace,
  installNamespace,
  testNamespace,
} from './support/names.ts';
import { certificatesIn, leafOf, secretOf } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const timeoutMs = 150_000;
const signers = ['cluster-proxy-signer', 'cluster-proxy-agent-signer'];
const bundles = ['proxy-server-ca', 'agent-ca'];
/** The programs to restart after a restore: watchers of the hub's API server, but none of ours. */
const watchers = {
  hub: [
    ...['kube-controller-manager', 'kube-scheduler', 'kube-proxy', 'kubelet'],
    ...['ocm-registration', 'ocm-work', 'ocm-addon', 'ocm-placement'],
  ],
  managed: ['ocm-registration', 'ocm-work'],
};

describe.each(['PortForward', 'LoadBalancerService'] as const)(
  'A hub with the entrypoint %s that is restored from a backup which is older than its CAs',
  (type) => {
    let ground: Ground;
    let hub: GroundCluster;
    let installation: Installation;
    let client: HubClient;
    let store: string;
    let before: readonly string[];

    const authorities = async () => {
      const read = async (name: string) =>
        certificatesIn(await secretOf(hub, hubNamespace, name), 'ca.crt')[0]!.fingerprint256;
      return Promise.all(signers.map(read));
    };
    /** Waits until agents have certificates of the agents' CA and clients with the Secrets work. */
    const served = async (what: string) => {
      for (const cluster of ground.managed) {
        await eventually(
          ground,
          async () => {
            const [authority] = certificatesIn(
              await secretOf(hub, hubNamespace, 'cluster-proxy-agent-signer'),
              'ca.crt',
            );
            const leaf = await leafOf(cluster, installNamespace, agentCertificate);
            if (!leaf.verify(authority!.publicKey)) return false;
            await client.readSecrets();
            const where = [`--namespace=${testNamespace}`];
            return (await client.run('pods', cluster, where)).ok;
          },
          { what: `${what} in ${cluster.name}`, timeoutMs, pollMs: 2_000 },
        );
      }
    };
    const stopStore = async () => {
      await hub.kill('kube-apiserver');
      await hub.kill('etcd');
    };
    const startStore = async () => {
      await hub.startAgain('etcd');
      await hub.startAgain('kube-apiserver');
      const ready = async () => (await hub.kubectl(['get', '--raw', '/readyz'])) === 'ok';
      await eventually(ground, ready, { what: 'API server of the hub', timeoutMs });
    };

    beforeAll(async () => {
      ground = await connectGround();
      ({ hub } = ground);
      store = join(directoriesOf(hub.name).root, 'etcd');
      installation = new Installation(ground);
      await installation.apply(entrypointValues[type]);
      await installation.settle();
      for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
      client = await HubClient.open(hub);
      await served('tunnel');
      before = await authorities();
    }, 300_000);
    afterAll(async () => {
      await rm(`${store}.backup`, { recursive: true, force: true });
      await client?.[Symbol.asyncDispose]();
    });

    it('The hub has a backup, and gets other CAs after the backup', async () => {
      await stopStore();
      await cp(store, `${store}.backup`, { recursive: true });
      await startStore();
      const secrets = [...bundles, ...signers];
      await eventually(
        ground,
        async () => {
          await hub.kubectl(['-n', hubNamespace, 'delete', 'secret', ...secrets]);
          return true;
        },
        { what: 'end of the CAs', timeoutMs: 60_000 },
      );
      await served('certificate of the new CA');
      expect(await authorities()).not.toEqual(before);
    });

    it('The restored hub serves again without manual work on brokers, manager or agents', async () => {
      await stopStore();
      await rm(store, { recursive: true });
      await cp(`${store}.backup`, store, { recursive: true });
      await startStore();
      for (const [cluster, programs] of [
        [hub, watchers.hub] as const,
        ...ground.managed.map((managed) => [managed, watchers.managed] as const),
      ]) {
        for (const program of programs) {
          await cluster.kill(program);
          await cluster.startAgain(program);
        }
      }
      await served('certificate of the CA of the backup');
      expect(await authorities()).toEqual(before);
      await installation.settle();
    });
  },
);
