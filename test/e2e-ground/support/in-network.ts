import type { EnteredCommand, GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';

/**
 * The command line of a program in the network of a cluster's node, with this machine's files and
 * processes. Without a process namespace nsenter becomes the program, so that it can be stopped.
 */
export function inNetworkOf(
  cluster: GroundCluster,
  command: string,
  args: readonly string[],
): EnteredCommand {
  const entered = cluster.enter(command, args);
  const own = entered.args.indexOf('--');
  const namespaces = entered.args.slice(0, own);
  const kept = namespaces.filter((name) => name !== '--pid' && name !== '--mount');
  return { ...entered, args: [...kept, ...entered.args.slice(own)] };
}
