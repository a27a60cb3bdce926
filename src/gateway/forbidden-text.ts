import type { Action } from '../access/action.ts';
import type { Subject } from '../access/subject.ts';

/** The message of a request that the rules at the hub do not allow. */
export function forbiddenText(
  subject: Subject,
  action: Action,
  cluster: string,
  reason: string,
): string {
  const user = `User "${subject.user}"`;
  const where = `cluster "${cluster}"`;
  switch (action.kind) {
    case 'kube': {
      const { verb, group, namespace, name, subresource } = action;
      const resource = action.resource + (subresource === '' ? '' : `/${subresource}`);
      const object = name === '' ? resource : `${resource} "${name}"`;
      const inNamespace = namespace === '' ? '' : ` in the namespace "${namespace}"`;
      return `${object} is forbidden: ${user} cannot ${verb} resource "${resource}" in API group "${group}"${inNamespace} of ${where}: ${reason}`;
    }
    case 'kube-path':
      return `forbidden: ${user} cannot ${action.verb} path "${action.path}" of ${where}: ${reason}`;
    case 'service':
      return `forbidden: ${user} cannot reach service ${action.namespace}/${action.name} port ${action.port} of ${where}: ${reason}`;
    default:
      return `forbidden: ${user} cannot do this in ${where}: ${reason}`;
  }
}
