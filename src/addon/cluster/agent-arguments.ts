import { addonName } from '../api/names.ts';
import { agentStatusPort } from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';
import { escapeDollar } from './escape-dollar.ts';
import { formatHostPort } from '../../base/net/host-port.ts';

/** The command line of `culvert agent` in its container. */
export function agentArguments(values: AgentValues): readonly string[] {
  const { entrypoint, installNamespace, settings, allow, leadsToApiserver } = values;
  const broker =
    entrypoint.kind === 'direct'
      ? `--broker-url=wss://${formatHostPort(entrypoint)}`
      : `--broker-via-hub=${entrypoint.viaHub}`;
  return [
    'agent',
    `--cluster=${values.cluster}`,
    '--agent-id=$(POD_NAME)',
    broker,
    '--ca-file=/etc/ca/ca.crt',
    '--certificate-dir=/etc/tls',
    '--hub-kubeconfig=/etc/kubeconfig/kubeconfig',
    `--install-namespace=${installNamespace}`,
    `--lease=${installNamespace}/${addonName}`,
    `--status-listen=[::]:${agentStatusPort}`,
    ...[...settings].map(([name, value]) => `--${name}=${escapeDollar(value)}`),
    ...(leadsToApiserver ? [] : ['--enable-kube-api-proxy=false']),
    ...allow.map((target) => `--allow=${escapeDollar(target)}`),
  ];
}
