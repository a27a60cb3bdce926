import { type Env, envOf } from '../base/options/option-table.ts';
import { type Command, optionsOf } from './command.ts';

/**
 * The environment for `command`, without the variables that belong only to other commands. So one
 * file of settings can serve several programs, and a variable that no command knows is still
 * reported as a mistake.
 */
export function programEnv(command: Command, commands: readonly Command[], env: Env): Env {
  const namesOf = (of: Command) =>
    Object.values(optionsOf(of))
      .filter((option) => option.flagOnly !== true)
      .map(envOf);
  const own = new Set(namesOf(command));
  const foreign = new Set(commands.flatMap(namesOf).filter((name) => !own.has(name)));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.has(name)));
}
