import { processName, type AgentProcess } from './directory.ts';

/** Names a tunnel: an agent's process has up to two, 0 and 1, each to its own replica. */
export interface TunnelName extends AgentProcess {
  readonly cluster: string;
  readonly tunnel: number;
}

/** Names a tunnel within its cluster. Redis stores a tunnel under this key. */
export function tunnelKey(name: Omit<TunnelName, 'cluster'>): string {
  return `${name.tunnel}/${processName(name)}`;
}

/** The process that `tunnelKey` made the key for; undefined: the text is not such a key. */
export function processOfTunnelKey(key: string): AgentProcess | undefined {
  const [, name] = /^[01]\/(.+)$/s.exec(key) ?? [];
  return name === undefined ? undefined : parseProcessName(name);
}

/** The reverse of `processName`. */
export function parseProcessName(name: string): AgentProcess {
  const at = name.indexOf('@');
  if (at === -1) return { agent: name };
  return { agent: name.slice(0, at), instance: name.slice(at + 1) };
}
