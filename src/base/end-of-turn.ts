/** An object with work left over for the end of the current turn of the event loop. */
export interface TurnTask {
  /** Must not throw, because other tasks wait behind this one. */
  endTurn(): void;
}

let due: TurnTask[] = [];
let running: TurnTask[] = [];

/**
 * Calls `task.endTurn` once after all input of this turn has been read. One immediate of Node
 * serves all tasks of the process. Ticks and microtasks come too early, because they run between
 * the records of one TLS read.
 */
export function atEndOfTurn(task: TurnTask): void {
  if (due.push(task) === 1) setImmediate(runDue);
}

/** A task that is added while tasks run waits for the end of the next turn. */
function runDue(): void {
  [due, running] = [running, due];
  for (const task of running) task.endTurn();
  running.length = 0;
}
