import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { readTcpTable, tcpTableKey } from '../../src/agent/tcp-table.ts';

/** Lines of /proc/net/tcp of Linux 6.18. */
const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 014D630A:9A72 024D630A:15B3 01 00008358:00000000 04:0000001E 00000000     0        2 31337 2 0000000000000000 20 4 30 10 -1
   1: 014D630A:9A80 024D630A:15B3 01 0000000B:00000000 01:0000012B 00000005     0        0 31338 2 0000000000000000 20 4 30 10 -1
`;

function endpoints(local: string, localPort: number, remote: string, remotePort: number): Socket {
  const socket = { localAddress: local, localPort, remoteAddress: remote, remotePort };
  return socket as Partial<Socket> as Socket;
}

describe("The kernel's table of TCP connections", () => {
  it("The TCP table shows a connection's unacknowledged bytes, retransmissions and unanswered probes", () => {
    const stalled = tcpTableKey(endpoints('10.99.77.1', 0x9a72, '10.99.77.2', 5555))!;
    const gone = tcpTableKey(endpoints('10.99.77.1', 0x9a80, '10.99.77.2', 5555))!;
    expect(readTcpTable(table, new Set([stalled, gone]))).toEqual([
      [stalled, { unacknowledgedBytes: 0x8358, retransmissions: 0, unansweredProbes: 2 }],
      [gone, { unacknowledgedBytes: 11, retransmissions: 5, unansweredProbes: 0 }],
    ]);
    expect(readTcpTable(table, new Set([gone]))).toHaveLength(1);
    expect(readTcpTable('', new Set([gone]))).toEqual([]);
  });

  it.each([
    ['::1', '00000000000000000000000001000000'],
    ['fd00::1:2', '000000FD000000000000000002000100'],
    ['::ffff:127.0.0.1', '0000000000000000FFFF00000100007F'],
    ['fe80::1%eth0', '000080FE000000000000000001000000'],
    ['2001:db8:1:2:3:4:5:6', 'B80D0120020001000400030006000500'],
    ['10.1.2.3', '0302010A'],
  ])('The key of the TCP table for %s is %s', (address, text) => {
    expect(tcpTableKey(endpoints(address, 80, address, 65_535))).toBe(`${text}:0050 ${text}:FFFF`);
  });

  it.each(['127.0.0.1', '::1'])('The TCP table contains a real connection to %s', async (host) => {
    const server = createServer((socket) => socket.pause()).listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connect({ host, port });
    try {
      await once(socket, 'connect');
      const key = tcpTableKey(socket)!;
      const text = await readFile(`/proc/self/net/${host === '::1' ? 'tcp6' : 'tcp'}`, 'latin1');
      expect(readTcpTable(text, new Set([key]))).toEqual([
        [key, { unacknowledgedBytes: 0, retransmissions: 0, unansweredProbes: 0 }],
      ]);
    } finally {
      socket.destroy();
      server.close();
    }
  });
});
