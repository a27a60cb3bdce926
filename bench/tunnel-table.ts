import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { preparePeerPrograms } from '../testkit/ground/peer-programs.ts';
import { runLoad } from './load.ts';
import { format, median } from './report.ts';
import { startTcpTunnels } from './tcp-tunnels.ts';

const repetitions = 3;

interface Column {
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
}

const columns: readonly Column[] = [
  { title: 'up 1', command: 'blast', args: ['--streams', '1'] },
  { title: 'up 16', command: 'blast', args: ['--streams', '16'] },
  { title: 'down 1', command: 'drain', args: ['--streams', '1'] },
  { title: 'down 16', command: 'drain', args: ['--streams', '16'] },
  { title: 'round trip p50 us', command: 'pingpong', args: [] },
];

/**
 * Measures tunnels for plain TCP in turns and prints a table: MB/s, and CPU seconds per GiB of all
 * processes of the tunnel.
 */
export async function compareTunnels(go: GoPrograms, isQuick: boolean): Promise<void> {
  const programs = await preparePeerPrograms((line) => console.log(`test ground: ${line}`));
  await using tunnels = await startTcpTunnels(go, programs);
  const time = isQuick
    ? ['--seconds', '0.6', '--warmup', '0.3', '--count', '1000']
    : ['--seconds', '2', '--warmup', '1', '--count', '3000'];
  const samples = new Map<string, { speed: number; cpu: number }[]>();
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    console.log(`repetition ${repetition} of ${repetitions} ...`);
    for (const { title, command, args } of columns) {
      for (const peer of tunnels.peers) {
        const result = await runLoad(go, peer, command, [...args, ...time]);
        const speed = command === 'pingpong' ? result.p50Micros : result.mbPerSecond;
        const cell = `${peer.name} ${title}`;
        samples.set(cell, [...(samples.get(cell) ?? []), { speed, cpu: result.cpuPerGib }]);
      }
    }
  }
  console.log(`\n| | ${columns.map(({ title }) => title).join(' | ')} |`);
  console.log(`|---|${columns.map(() => '---:|').join('')}`);
  for (const { name } of tunnels.peers) {
    const cells = columns.map(({ title }) => {
      const all = samples.get(`${name} ${title}`) ?? [];
      const cpu = format(median(all.map((sample) => sample.cpu)));
      const speed = format(median(all.map((sample) => sample.speed)));
      return cpu === '' ? speed : `${speed} (${cpu})`;
    });
    console.log(`| ${name} | ${cells.join(' | ')} |`);
  }
}
