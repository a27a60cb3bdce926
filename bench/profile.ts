import { glob, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

const printedRows = 30;

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Prints the functions that used the most CPU time themselves, for each profile in a directory. */
export async function printProfiles(directory: string): Promise<void> {
  for await (const file of glob('*.cpuprofile', { cwd: directory })) {
    const profile = JSON.parse(await readFile(join(directory, file), 'utf8')) as CpuProfile;
    console.log(`\n${basename(file, '.cpuprofile')}\n${topFunctions(profile)}`);
  }
}

function topFunctions({ nodes, samples, timeDeltas }: CpuProfile): string {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const place =
        url === '' ? '' : ` ${url.replace(/^.*\/(src|node_modules)\//, '$1/')}:${lineNumber + 1}`;
      return [id, `${functionName || '(anonymous)'}${place}`];
    }),
  );
  const selfMicros = new Map<string, number>();
  let busyMicros = 0;
  for (const [index, id] of samples.entries()) {
    const name = names.get(id)!;
    if (name === '(idle)') continue;
    const micros = timeDeltas[index] ?? 0;
    busyMicros += micros;
    selfMicros.set(name, (selfMicros.get(name) ?? 0) + micros);
  }
  const rows = Array.from(selfMicros).toSorted(([, a], [, b]) => b - a);
  return rows
    .slice(0, printedRows)
    .map(([name, micros]) => `${((100 * micros) / busyMicros).toFixed(1).padStart(5)} %  ${name}`)
    .join('\n');
}
