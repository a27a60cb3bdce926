import { isIPv4, type Socket } from 'node:net';

/** The state of a connection in the kernel's table (Linux, Documentation/networking/proc_net_tcp.rst). */
export interface TcpState {
  /** Bytes that were sent and not acknowledged, or wait to be sent. */
  readonly unacknowledgedBytes: number;
  /** Times in a row that the same bytes have been sent again. */
  readonly retransmissions: number;
  /** Probes of a closed window in a row without an answer. */
  readonly unansweredProbes: number;
}

/** How the tables name a connection; undefined where the socket is not connected. */
export function tcpTableKey(socket: Socket): string | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || localPort === undefined) return undefined;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return `${endpointKey(localAddress, localPort)} ${endpointKey(remoteAddress, remotePort)}`;
}

/** The states of the connections in `wanted`, as far as `table` has them. */
export function readTcpTable(
  table: string,
  wanted: { has(key: string): boolean },
): [string, TcpState][] {
  return table.split('\n').flatMap((line): [string, TcpState][] => {
    const [, local, remote, , queues, , retransmissions, , probes] = line.trim().split(/ +/);
    if (local === undefined || remote === undefined || probes === undefined) return [];
    const key = `${local} ${remote}`;
    if (!wanted.has(key)) return [];
    const state = {
      unacknowledgedBytes: Number.parseInt(queues!, 16),
      retransmissions: Number.parseInt(retransmissions!, 16),
      unansweredProbes: Number(probes),
    };
    return [[key, state]];
  });
}

/** An address as words of four bytes, each with the lowest byte first, and the port. */
function endpointKey(address: string, port: number): string {
  const bytes = isIPv4(address) ? address.split('.').map(Number) : ipv6Bytes(address);
  let text = '';
  for (let word = 0; word < bytes.length; word += 4) {
    for (let at = word + 3; at >= word; at--) text += hex(bytes[at]!, 2);
  }
  return `${text}:${hex(port, 4)}`;
}

function ipv6Bytes(address: string): number[] {
  // The URL parser writes an IPv4 tail as two groups, and is the one place that knows all spellings.
  const plain = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1);
  const [head = '', tail] = plain.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => 0);
  return [...front, ...zeros, ...back].flatMap((group) => [group >> 8, group & 0xff]);
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
