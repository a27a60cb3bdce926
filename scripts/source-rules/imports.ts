import { isSource, type Finding, type ImportOf, type SourceFile } from './source-file.ts';
import { packageRooms, rooms } from './table.ts';

/** Imports that the table does not allow. */
export function importFindings(files: readonly SourceFile[]): readonly Finding[] {
  return files.flatMap((file) =>
    file.imports.flatMap((imported) => {
      const message = problemOf(file, imported);
      return message === undefined ? [] : [{ path: file.path, line: imported.line, message }];
    }),
  );
}

function problemOf(file: SourceFile, { specifier, path }: ImportOf): string | undefined {
  const from = roomOf(file.path);
  if (from === undefined) return 'is in no room: add its folder to scripts/source-rules/table.ts';
  if (path !== undefined) return fileProblem(from, path);
  if (!isSource(file)) return undefined;
  if (specifier.startsWith('node:')) {
    return rooms[from]!.isPortable ? `${from} is portable and imports no ${specifier}` : undefined;
  }
  return packageProblem(file.path, specifier);
}

function fileProblem(from: string, path: string): string | undefined {
  const to = roomOf(path) ?? path;
  if (to === from) return undefined;
  const { imports } = rooms[from]!;
  // Outside of src, `src` means all rooms in it.
  if (imports.includes(to) || (imports.includes('src') && to.startsWith('src/'))) return undefined;
  const allowed = imports.length === 0 ? 'nothing else of ours' : `only ${imports.join(', ')}`;
  return `${from} may not import ${to} (${path}); it imports ${allowed}`;
}

function packageProblem(path: string, specifier: string): string | undefined {
  const [scope = '', name = ''] = specifier.split('/');
  const packageName = scope.startsWith('@') ? `${scope}/${name}` : scope;
  const room = packageRooms[packageName];
  if (room === undefined) return `${packageName} has no place in src: see packageRooms`;
  if (path.startsWith(`${room}/`)) return undefined;
  return `only ${room} imports the package ${packageName}`;
}

/** The longest folder of the table that contains `path`. */
function roomOf(path: string): string | undefined {
  const folders = path.split('/').slice(0, -1);
  for (let count = folders.length; count > 0; count--) {
    const folder = folders.slice(0, count).join('/');
    if (folder in rooms) return folder;
  }
  return undefined;
}
