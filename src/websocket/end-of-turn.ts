/** Something with work left over for the end of the current turn of the event loop. */
export interface TurnTask {
  /** Must not throw: others wait behind it. */
  endTurn(): void;
}

let due: TurnTask[] = [];

/**
 * Calls `task.endTurn` once after all input of this turn has been read. One immediate serves all tasks of the process; ticks and
 * microtasks would come too early, because they run between the records of one TLS read.
 */
export function atEndOfTurn(task: TurnTask): void {
  if (due.push(task) === 1) setImmediate(runDue);
}

function runDue(): void {
  const tasks = due;
  due = [];
  for (const task of tasks) task.endTurn();
}
