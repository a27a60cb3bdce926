import type { Command } from './command.ts';
import {
  kubeconfigAddressTable,
  kubeconfigClustersTable,
  kubeconfigOutputTable,
  kubeconfigUserTable,
  readKubeconfigOptions,
} from './kubeconfig-options.ts';

export const kubeconfigCommand: Command = {
  name: 'kubeconfig',
  summary: 'write kubectl contexts for managed clusters',
  about:
    'Adds a context for each cluster to a kubeconfig, so that kubectl, helm and other programs reach managed clusters through ' +
    'a gateway or a bridge. Other entries of the file, its comments and fields that a user has added remain. Without ' +
    '--cluster, the hub is asked for its ManagedClusters.',
  groups: [
    { title: 'Clusters', table: kubeconfigClustersTable },
    { title: 'Addresses', table: kubeconfigAddressTable },
    { title: 'Users', table: kubeconfigUserTable },
    { title: 'The kubeconfig', table: kubeconfigOutputTable },
  ],
  examples: [
    {
      title: 'contexts for all clusters of the hub, without those of clusters that are gone',
      line: 'culvert kubeconfig --url https://proxy.example.com:9092 --ca-file ca.crt --user-token-file token --prune',
    },
    {
      title: 'contexts for clusters with a label, and a user that the kubeconfig has already',
      line: 'culvert kubeconfig --url https://proxy.example.com:9092 --hub-context hub --selector env=prod --user oidc',
    },
    {
      title: 'a kubeconfig for one cluster behind a bridge on this machine',
      line: 'culvert kubeconfig --form proxy --url http://127.0.0.1:8090 --cluster prod-1 --cluster-ca-file prod-1.crt --user-token-file token --stdout',
    },
  ],
  async run(argv, io) {
    const options = readKubeconfigOptions(argv, io.env);
    const { writeContexts } = await import('./write-contexts.ts');
    return await writeContexts(options, io);
  },
};
