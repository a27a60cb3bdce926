import { type Env, envOf } from '../base/options/option-table.ts';
import { type Command, optionsOf } from './command.ts';

/**
 * The environment as `command` sees it: without the variables that are options of other commands only. One file of
 * settings may then serve several programs, while a name that nobody knows is still reported as the slip it is.
 */
export function programEnv(command: Command, commands: readonly Command[], env: Env): Env {
  const namesOf = (of: Command) => Object.values(optionsOf(of)).map(envOf);
  const own = new Set(namesOf(command));
  const foreign = new Set(commands.flatMap(namesOf).filter((name) => !own.has(name)));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.has(name)));
}
