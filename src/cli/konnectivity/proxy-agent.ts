import { readAgentOptions } from '../../agent/options.ts';
import type { Command } from '../command.ts';
import { startProgramLog } from '../program-log.ts';
import { runUntilStopped } from '../run-until-stopped.ts';
import { withoutOptions } from './upstream-flags.ts';
import { onlyCluster } from './proxy-server-options.ts';
import {
  agentArgvOf,
  agentHealthTable,
  agentIgnored,
  proxyServerTable,
  readProxyAgentOptions,
  retryOf,
} from './proxy-agent-options.ts';

export const proxyAgentCommand: Command = {
  name: 'proxy-agent',
  summary: "run an agent with the flags of konnectivity's proxy-agent",
  about:
    "Takes the place of konnectivity's proxy-agent 0.36 with the same flags, metrics and probes. It connects to " +
    '`culvert proxy-server` over a WebSocket, so it passes HTTPS proxies (HTTPS_PROXY) and its streams survive a restart of the server.',
  groups: [
    { title: 'The server', table: proxyServerTable },
    { title: 'The process', table: agentHealthTable },
    { title: 'Flags without effect', table: agentIgnored.table },
  ],
  examples: [
    {
      title: 'an agent on the machine of the server',
      line: 'culvert proxy-agent --proxy-server-host=127.0.0.1 --proxy-server-port=8091 --ca-cert=ca.crt --agent-cert=tls.crt --agent-key=tls.key',
    },
    {
      title: 'an agent with the token of its ServiceAccount',
      line: 'culvert proxy-agent --proxy-server-host=konnectivity.example.com --ca-cert=ca.crt --service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token',
    },
    {
      title: 'an agent with a certificate of the cluster CA',
      line: 'culvert proxy-agent --proxy-server-host=konnectivity.example.com --ca-cert=ca.crt --agent-cert=tls.crt --agent-key=tls.key',
    },
  ],
  async run(argv, { env, signals }) {
    const given = readProxyAgentOptions(argv, env);
    const { options, logLevel } = readAgentOptions(
      agentArgvOf(given, onlyCluster),
      withoutOptions(env),
    );
    const log = await startProgramLog('proxy-agent', { logLevel, warnings: given.warnings });
    const { startAgent } = await import('../../agent/agent.ts');
    const parts = { log, retry: retryOf(given) };
    return await runUntilStopped(async (stack) => stack.use(await startAgent(options, parts)), {
      ...options,
      signals,
      log,
    });
  },
};
