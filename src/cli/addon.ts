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

/** What a stop may take, in milliseconds: reconciles that run are waited for, and then the lead is given back. */
const drainTimeoutMs = 8_000;

export const addonCommand: Command = {
  name: 'addon',
  summary: 'manage brokers, agents and certificates on a hub of Open Cluster Management',
  about:
    'Runs on the hub. It keeps everything that the ManagedProxyConfiguration cluster-proxy asks for: brokers and their certificates, ' +
    'and an agent in every cluster that has the addon. POD_NAMESPACE must name the namespace that it runs in, and POD_NAME may name ' +
    'this process. Several may run; with --leader-elect one of them works. The flags are those of Cluster Proxy; those of klog are accepted with a warning.',
  groups: [
    { title: 'Where it runs', table: addonTable },
    { title: 'Certificates', table: addonCertificatesTable },
    { title: 'What it deploys', table: addonAgentTable },
    { title: 'Redis', table: addonRedisTable },
    { title: 'The process', table: addonProcessTable },
  ],
  examples: [
    {
      says: 'as the chart starts it, in a pod beside others',
      line: 'culvert addon --leader-elect --signer-secret-namespace open-cluster-management-addon --redis-url redis://cluster-proxy-redis:6379',
    },
    {
      says: 'from outside of the hub, as a look at what it does',
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
