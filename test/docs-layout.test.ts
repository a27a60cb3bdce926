import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const root = new URL('../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

const docs = readdirSync(new URL('docs', root)).filter((name) => name.endsWith('.md'));
/** What a newcomer reads, and what is written for every reader. */
const pages = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...docs.map((name) => `docs/${name}`),
  ...[
    'charts/agent/README.md',
    'charts/cluster-proxy/README.md',
    'examples/go-client-go/README.md',
    'examples/typescript/README.md',
  ],
];
const notes = ['cluster-proxy', 'agent'].map((chart) => `charts/${chart}/templates/NOTES.txt`);

describe('the layout of documents', () => {
  it('no line of a table is longer than 160 characters', () => {
    const long = pages.flatMap((page) =>
      read(page)
        .split('\n')
        .filter((line) => line.startsWith('|') && line.length > 160)
        .map((line) => `${page}: ${line}`),
    );
    expect(long).toEqual([]);
  });

  it('no line of prose is longer than 125 characters', () => {
    const long = pages.flatMap((page) =>
      read(page)
        // Code and links cannot be wrapped.
        .replaceAll(/^( *```).*?^\1$/gms, '')
        .split('\n')
        .filter((line) => !/^[|<#]|^\s*\S+$/.test(line) && line.length > 125)
        .map((line) => `${page}: ${line}`),
    );
    expect(long).toEqual([]);
  });

  it('docs/README.md links every page of docs', () => {
    const linked = new Set(read('docs/README.md').match(/(?<=\]\()[\w-]+\.md(?=\))/g));
    expect([...linked].toSorted()).toEqual(docs.filter((name) => name !== 'README.md').toSorted());
  });

  it('no page and no Helm note uses a word that docs/style.md avoids', () => {
    const avoided = read('docs/style.md')
      .split('\n## ')
      .find((section) => section.startsWith('Words to avoid'))!
      .split('\n')
      .filter((line) => /^\| [a-z]/.test(line))
      .map((line) => line.split('|')[1]!.trim())
      .filter((word) => word !== 'avoid');
    expect(avoided.length).toBeGreaterThan(10);
    const used = [...pages, ...notes]
      .filter((page) => page !== 'docs/style.md')
      .flatMap((page) => {
        const text = read(page).replaceAll(/\s+/g, ' ');
        return avoided
          .filter((word) => new RegExp(`\\b${word}\\b`, 'i').test(text))
          .map((word) => `${page}: ${word}`);
      });
    expect(used).toEqual([]);
  });

  it('every relative link leads to a file, and its anchor to a heading', () => {
    const broken = pages.flatMap((page) =>
      Array.from(read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g))
        .filter(([, path, anchor]) => {
          const target = path === '' ? new URL(page, root) : new URL(path!, new URL(page, root));
          if (!existsSync(target)) return true;
          return anchor !== undefined && !anchorsOf(readFileSync(target, 'utf8')).has(anchor);
        })
        .map(([link]) => `${page}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  it('CONTRIBUTING.md and ARCHITECTURE.md name only files and folders that exist', () => {
    const named = ['CONTRIBUTING.md', 'ARCHITECTURE.md'].flatMap((page) =>
      Array.from(read(page).matchAll(/`([\w.-]+(?:\/[\w.-]+)*\/?)`/g), ([, path]) => path!)
        .filter((path) => /\/|\.(ts|json|md)$/.test(path))
        .map((path) => ({ page, path })),
    );
    expect(named.length).toBeGreaterThan(40);
    const files = ['.', 'src', 'src/addon', 'src/kube', 'src/base', 'src/broker'];
    const below = (path: string) =>
      files.some((folder) => existsSync(new URL(`${folder}/${path}`, root))) ||
      readdirSync(new URL('src', root), { recursive: true, encoding: 'utf8' }).some((file) =>
        file.endsWith(`/${path}`),
      );
    // Names of packages and their entries, and paths outside the repository.
    const isForeign = (path: string) => /^(node:|@|~|culvert\/)/.test(path);
    expect(named.filter(({ path }) => !isForeign(path) && !below(path))).toEqual([]);
  });

  it('ARCHITECTURE.md describes every room of src', () => {
    const text = read('ARCHITECTURE.md');
    const rooms = readdirSync(new URL('src', root));
    expect(rooms.length).toBeGreaterThan(10);
    expect(rooms.filter((room) => !text.includes(`\`src/${room}\``))).toEqual([]);
  });

  /** As GitHub makes them. */
  function anchorsOf(text: string): ReadonlySet<string> {
    const headings = Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading]) => heading!);
    return new Set(
      headings.map((heading) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\w\s-]/g, '')
          .replaceAll(' ', '-'),
      ),
    );
  }
});
