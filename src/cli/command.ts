import type { EventEmitter } from 'node:events';
import type { Env, OptionsTable } from '../base/options/option-table.ts';

/** The parts of a process that a command uses. */
export interface CommandIo {
  readonly env: Env;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  /** Emits SIGTERM and SIGINT. */
  readonly signals: Pick<EventEmitter, 'on' | 'off'>;
}

/** One command: its help text, and the function that runs it. */
export interface Command {
  /** The words after `culvert` on the command line: `broker`, `token agent`. */
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** A paragraph that describes the users of the command and its effect. */
  readonly about: string;
  readonly groups: readonly OptionGroup[];
  readonly examples: readonly Example[];
  /**
   * Resolves with the exit code. The program's modules are imported here and not at the top, so
   * that help and option errors appear without delay.
   */
  run(this: void, argv: readonly string[], io: CommandIo): Promise<number>;
}

export interface OptionGroup {
  readonly title: string;
  readonly table: OptionsTable;
}

export interface Example {
  /**
   * Completes the sentence "This starts ..." or "This prints ...". Shown as a comment above the
   * line.
   */
  readonly title: string;
  readonly line: string;
}

/** All options of a command in one table. */
export function optionsOf({ groups }: Pick<Command, 'groups'>): OptionsTable {
  return Object.assign({}, ...groups.map(({ table }) => table)) as OptionsTable;
}
