import { afterEach, expect, it, vi } from 'vitest';
import { atEndOfTurn, sendAtEndOfTurn } from '../../src/base/end-of-turn.ts';

afterEach(() => vi.restoreAllMocks());

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs turns until nothing is planned, and returns how many turns the tasks have planned. */
async function plannedTurns(begin: () => void): Promise<number> {
  const planned = vi.spyOn(globalThis, 'setImmediate');
  begin();
  let turns = 0;
  do {
    turns = planned.mock.calls.length;
    await nextTurn();
    planned.mock.calls.pop();
  } while (planned.mock.calls.length > turns);
  return turns;
}

it('Tasks of a turn run before the senders of the turn, each once', async () => {
  const ran: string[] = [];
  const senders = await plannedTurns(() => {
    sendAtEndOfTurn({ endTurn: () => ran.push('sender') });
    atEndOfTurn({ endTurn: () => ran.push('task') });
  });
  expect([ran, senders]).toEqual([['task', 'sender'], 1]);
});

it('A sender that a task adds runs in the same turn, and needs no other turn', async () => {
  const ran: string[] = [];
  const turns = await plannedTurns(() => {
    atEndOfTurn({
      endTurn: () => {
        ran.push('task');
        sendAtEndOfTurn({ endTurn: () => ran.push('sender') });
      },
    });
  });
  expect([ran, turns]).toEqual([['task', 'sender'], 1]);
});

it('A task that a task adds waits for the next turn', async () => {
  const ran: string[] = [];
  const turns = await plannedTurns(() => {
    atEndOfTurn({
      endTurn: () => {
        ran.push('task');
        atEndOfTurn({ endTurn: () => ran.push('next') });
        sendAtEndOfTurn({ endTurn: () => ran.push('sender') });
      },
    });
  });
  expect([ran, turns]).toEqual([['task', 'sender', 'next'], 2]);
});

it('A task that a sender adds waits for the next turn', async () => {
  const ran: string[] = [];
  const turns = await plannedTurns(() => {
    sendAtEndOfTurn({
      endTurn: () => {
        ran.push('sender');
        atEndOfTurn({ endTurn: () => ran.push('next') });
      },
    });
  });
  expect([ran, turns]).toEqual([['sender', 'next'], 2]);
});
