import { hash } from 'node:crypto';
import { TunnelError } from '../../tunnel/errors.ts';
import { processName, type AgentClaim, type AgentProcess, type AgentRecord } from '../directory.ts';

/** Bounds on what is written to and read from Redis: whatever else writes there cannot make us hold more. */
export const entryLimits = {
  maxFieldBytes: 512,
  maxEntryBytes: 2048,
  /** Of one cluster; of more, a random choice is seen. */
  maxTunnels: 256,
} as const;

/** A tunnel as one replica wrote it down; `holder` is that process, which a replica's name alone does not tell apart. */
export interface StoredTunnel {
  readonly field: string;
  readonly holder: string;
  readonly record: AgentRecord;
}

/** `clusterAlias` at once: a look-up that is cached waits for nothing, and one after a change sees the change. */
export function aliasOf(cluster: string): string {
  return `cluster-${hash('sha256', cluster).slice(0, 48)}`;
}

/** The field of a tunnel in the hash of its cluster. */
export function fieldOf(claim: AgentClaim): string {
  return `${claim.tunnel}/${processName(claim)}`;
}

/** The process whose tunnel has this field; undefined: it is no field of a tunnel. */
export function processOfField(field: string): AgentProcess | undefined {
  const [, name] = /^[01]\/(.+)$/s.exec(field) ?? [];
  return name === undefined ? undefined : parseProcess(name);
}

function parseProcess(name: string): AgentProcess {
  const at = name.indexOf('@');
  if (at === -1) return { agent: name };
  return { agent: name.slice(0, at), instance: name.slice(at + 1) };
}

/** @throws TunnelError `protocol_error` names that are too long to be read back */
export function encodeClaim(claim: AgentClaim & Pick<AgentRecord, 'retiring'>): string {
  const { cluster, tunnel, replica, address, retiring } = claim;
  // Replicas of culvert 0.1 take the whole name of the process for the agent's id, and find the tunnel all the same.
  const agent = processName(claim);
  const text = JSON.stringify({ cluster, agent, tunnel, replica, address, retiring });
  const bytes = Buffer.byteLength(text);
  // What the scripts put before it is shorter than 100 bytes, and to retire must be possible.
  if (bytes + 120 > entryLimits.maxEntryBytes) {
    const sentence = `the directory entry of an agent would take ${bytes} bytes, use shorter names`;
    throw new TunnelError('protocol_error', sentence);
  }
  if (Buffer.byteLength(fieldOf(claim)) > entryLimits.maxFieldBytes) {
    const sentence = `the name of an agent has more than ${entryLimits.maxFieldBytes - 2} bytes`;
    throw new TunnelError('protocol_error', sentence);
  }
  return text;
}

/**
 * Reads an entry: `<epoch> <expiry> <holder> <claim as JSON>`.
 *
 * @param alias the alias of the cluster that it was found under
 * @throws Error saying what is wrong with it
 */
export function decodeEntry(alias: string, field: string, value: string): StoredTunnel {
  const [, epoch, holder, text] = /^(\d{1,15}) \d{1,15} (\w{1,64}) (\{.*\})$/s.exec(value) ?? [];
  if (epoch === undefined || holder === undefined || text === undefined) {
    throw new Error('it is not an entry of a directory');
  }
  const fields = JSON.parse(text) as Record<string, unknown>;
  const { cluster, agent, tunnel, replica, address, retiring } = fields;
  if (typeof cluster !== 'string' || aliasOf(cluster) !== alias) {
    throw new Error('it is of another cluster');
  }
  if (typeof agent !== 'string' || (tunnel !== 0 && tunnel !== 1) || `${tunnel}/${agent}` !== field)
    throw new Error('it is of another tunnel');
  if (typeof replica !== 'string' || replica === '') throw new Error('it names no replica');
  if (typeof address !== 'string' || !isAddress(address)) {
    throw new Error('its address is not one where a replica can be reached');
  }
  const process = parseProcess(agent);
  const record = { cluster, ...process, tunnel, replica, address, epoch: +epoch } as const;
  return { field, holder, record: retiring === true ? { ...record, retiring } : record };
}

function isAddress(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.hostname === '' || url.username !== '' || url.password !== '')
    return false;
  return url.protocol === 'ws:' || url.protocol === 'wss:';
}
