import { delimiter, join } from 'node:path';

/**
 * The paths of the user's kubeconfigs, as kubectl finds them: the list in KUBECONFIG, or
 * `~/.kube/config`.
 */
export function kubeconfigPaths(
  env: Readonly<Record<string, string | undefined>>,
  homeDirectory: string,
): readonly string[] {
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  if (listed.length > 0) return [...new Set(listed)];
  return [join(homeDirectory, '.kube', 'config')];
}
