// node scripts/source-rules/main.ts [FOLDER]: rules that the linter does not know, for the project
// in FOLDER (default: this one).
import { fileURLToPath } from 'node:url';
import { cycleFindings } from './cycles.ts';
import { defaultFindings } from './defaults.ts';
import { importFindings } from './imports.ts';
import { lengthFindings } from './lengths.ts';
import { readSourceFiles } from './source-file.ts';

const root = process.argv[2] ?? fileURLToPath(new URL('../..', import.meta.url));
const files = readSourceFiles(root);
const findings = [importFindings, cycleFindings, defaultFindings, lengthFindings].flatMap((rule) =>
  rule(files),
);
for (const { path, line, message } of findings) {
  console.error(`${path}${line === undefined ? '' : `:${line}`}: ${message}`);
}
console.log(`${files.length} files, ${findings.length} findings`);
if (files.length === 0 || findings.length > 0) process.exitCode = 1;
