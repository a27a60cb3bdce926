import { readAddonOptions } from '../addon/options.ts';
import {
  addonAgentTable,
  addonCertificatesTable,
  addonProcessTable,
  addonRedisTable,
  addonTable,
} from '../addon/options-table.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { runUntilStopped } from './run-until-stopped.ts';

/**
 * How long a stop may take, in milliseconds: the program waits for running reconciles and then
 * releases its lease.
 */
const drainTimeoutMs = 8_000;

export const addonCommand: Command = {
  name: 'addon',
  summary: 'run the addon manager of an Open Cluster Management hub: deploy brokers and agents',
  about:
    'The addon manager runs on an Open Cluster Management hub. It deploys what the ManagedProxyConfiguration cluster-proxy ' +
    'describes: brokers, their certificates, and an agent in every cluster that has the addon. POD_NAMESPACE must hold the ' +
    'namespace of the process, and POD_NAME can hold its name. Several addon managers may run if they use --leader-elect. ' +
    'The flags are those of the Cluster Proxy manager. Flags of klog are accepted with a warning.',
  groups: [
    { title: 'The addon manager', table: addonTable },
    { title: 'Certificates', table: addonCertificatesTable },
    { title: 'Brokers and agents', table: addonAgentTable },
    { title: 'Redis', table: addonRedisTable },
    { title: 'The process', table: addonProcessTable },
  ],
  examples: [
    {
      title: 'one of several addon managers on the hub, as the chart starts it',
      line: 'culvert addon --leader-elect --signer-secret-namespace open-cluster-management-addon --redis-url redis://cluster-proxy-redis:6379',
    },
    {
      title: 'an addon manager outside the hub, to see what it does',
      line: 'POD_NAMESPACE=open-cluster-management-addon culvert addon --kubeconfig hub.kubeconfig --signer-secret-namespace open-cluster-management-addon',
    },
  ],
  async run(argv, { env, signals }) {
    const read = readAddonOptions(argv, env);
    const log = await startProgramLog('addon', read);
    const { startAddon } = await import('../addon/addon.ts');
    return await runUntilStopped(
      async (parts) => parts.use(await startAddon(read.options, { log })),
      { drainTimeoutMs, signals, log },
    );
  },
};
