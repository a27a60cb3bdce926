import { hash } from 'node:crypto';
import { TunnelError } from '../../tunnel/errors.ts';
import { processName, type AgentClaim, type AgentRecord } from '../directory.ts';
import { parseProcessName, tunnelKey } from '../tunnel-name.ts';

/**
 * Limits on what is stored in Redis and read from it, so that other writers cannot make us hold
 * more.
 */
export const entryLimits = {
  maxFieldBytes: 512,
  maxEntryBytes: 2048,
  /** Of one cluster. Of more tunnels, a random choice is read. */
  maxTunnels: 256,
} as const;

/** A tunnel as a replica has stored it. */
export interface StoredTunnel {
  /** The field of the cluster's hash, as `tunnelKey` makes it. */
  readonly field: string;
  /**
   * Names the process that stored it, because a replica's name may be that of an earlier process.
   */
  readonly holder: string;
  readonly record: AgentRecord;
}

/**
 * `clusterAlias` without a promise, so that a cached look-up waits for nothing, and a look-up after
 * a change sees the change.
 */
export function aliasOf(cluster: string): string {
  return `cluster-${hash('sha256', cluster).slice(0, 48)}`;
}

/**
 * Encodes a claim as JSON.
 *
 * @throws TunnelError `protocol_error` the names are too long to be read back
 */
export function encodeClaim(claim: AgentClaim & Pick<AgentRecord, 'retiring'>): string {
  const { cluster, tunnel, replica, address, zone, retiring, standby } = claim;
  // Replicas of culvert 0.1 take the process's name for the agent id, and still find the tunnel.
  const agent = processName(claim);
  const fields = { cluster, agent, tunnel, replica, address, zone, standby, retiring };
  const text = JSON.stringify(fields);
  const bytes = Buffer.byteLength(text);
  // The scripts put less than 100 bytes before it, and `retiring` may be added later.
  if (bytes + 120 > entryLimits.maxEntryBytes) {
    const sentence = `the directory entry of an agent would take ${bytes} bytes, use shorter names`;
    throw new TunnelError('protocol_error', sentence);
  }
  if (Buffer.byteLength(tunnelKey(claim)) > entryLimits.maxFieldBytes) {
    const sentence = `the name of an agent has more than ${entryLimits.maxFieldBytes - 2} bytes`;
    throw new TunnelError('protocol_error', sentence);
  }
  return text;
}

/**
 * Reads an entry: `<epoch> <expiry> <holder> <claim as JSON>`.
 *
 * @param alias the alias of the cluster under which it was found
 * @throws Error what is wrong with it
 */
export function decodeEntry(alias: string, field: string, value: string): StoredTunnel {
  const [, epoch, holder, text] = /^(\d{1,15}) \d{1,15} (\w{1,64}) (\{.*\})$/s.exec(value) ?? [];
  if (epoch === undefined || holder === undefined || text === undefined) {
    throw new Error('it is not an entry of a directory');
  }
  const fields = JSON.parse(text) as Record<string, unknown>;
  const { cluster, agent, tunnel, replica, address, zone, retiring, standby } = fields;
  if (typeof cluster !== 'string' || aliasOf(cluster) !== alias) {
    throw new Error('it is of another cluster');
  }
  if (typeof agent !== 'string' || (tunnel !== 0 && tunnel !== 1)) {
    throw new Error('it names no tunnel');
  }
  const process = parseProcessName(agent);
  if (tunnelKey({ ...process, tunnel }) !== field) throw new Error('it is of another tunnel');
  if (typeof replica !== 'string' || replica === '') throw new Error('it names no replica');
  if (typeof address !== 'string' || !isAddress(address)) {
    throw new Error('its address is not one where a replica can be reached');
  }
  const record: AgentRecord = {
    cluster,
    ...process,
    tunnel,
    replica,
    address,
    epoch: +epoch,
    // Replicas of earlier versions store no zone.
    ...(typeof zone === 'string' && { zone }),
    ...(retiring === true && { retiring }),
    ...(standby === true && { standby }),
  };
  return { field, holder, record };
}

function isAddress(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.hostname === '' || url.username !== '' || url.password !== '')
    return false;
  return url.protocol === 'ws:' || url.protocol === 'wss:';
}
