import type { EventEmitter } from 'node:events';
import type { Env, OptionsTable } from '../base/options/option-table.ts';

/** What a command sees of the process that it runs in. */
export interface CommandIo {
  readonly env: Env;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  /** Emits SIGTERM and SIGINT. */
  readonly signals: Pick<EventEmitter, 'on' | 'off'>;
}

/** One command: what its help shows, and what it does. */
export interface Command {
  /** As typed behind `culvert`: `broker`, `token agent`. */
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** A paragraph that tells who needs it and what it does. */
  readonly about: string;
  readonly groups: readonly OptionGroup[];
  readonly examples: readonly Example[];
  /** Resolves with the exit code. Imports what it runs only now, so that help and mistakes are answered at once. */
  run(this: void, argv: readonly string[], io: CommandIo): Promise<number>;
}

export interface OptionGroup {
  readonly title: string;
  readonly table: OptionsTable;
}

export interface Example {
  /** Completes the sentence "This starts ..." or "This prints ...". Shown as a comment above the line. */
  readonly title: string;
  readonly line: string;
}

/** All options of a command in one table. */
export function optionsOf({ groups }: Pick<Command, 'groups'>): OptionsTable {
  return Object.assign({}, ...groups.map(({ table }) => table)) as OptionsTable;
}
