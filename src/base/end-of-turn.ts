/** An object with work left over for the end of the current turn of the event loop. */
export interface TurnTask {
  /** Must not throw, because other tasks wait behind this one. */
  endTurn(): void;
}

let due: TurnTask[] = [];
let running: TurnTask[] = [];
let dueSenders: TurnTask[] = [];
let runningSenders: TurnTask[] = [];
let isPlanned = false;

/**
 * Calls `task.endTurn` once after all input of this turn has been read. One immediate of Node
 * serves all tasks of the process. Ticks and microtasks come too early, because they run between
 * the records of one TLS read.
 */
export function atEndOfTurn(task: TurnTask): void {
  due.push(task);
  plan();
}

/**
 * As `atEndOfTurn`, but after all its tasks. For sockets, so that what those tasks write leaves in
 * the same turn.
 */
export function sendAtEndOfTurn(task: TurnTask): void {
  dueSenders.push(task);
  plan();
}

function plan(): void {
  if (isPlanned) return;
  isPlanned = true;
  setImmediate(runDue);
}

/** A task that is added while tasks of its kind run waits for the end of the next turn. */
function runDue(): void {
  [due, running] = [running, due];
  for (const task of running) task.endTurn();
  running.length = 0;
  // Not before, because the senders that those tasks add run now and need no turn of their own.
  isPlanned = false;
  if (due.length > 0) plan();
  [dueSenders, runningSenders] = [runningSenders, dueSenders];
  for (const task of runningSenders) task.endTurn();
  runningSenders.length = 0;
}
