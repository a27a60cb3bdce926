import type { Stream } from './stream.ts';

/** Control frames that a stream has to send, as bits. They go before any data. */
export const PendingControl = { open: 1, opened: 2, credit: 4, fin: 8, reset: 16 } as const;

/**
 * Whether a frame of a patient stream may wait for others, because nobody waits for it: OPENED, the
 * opener's FIN, and the CREDIT for a FIN. In a short exchange each of them alone costs as much as
 * the exchange. At the acceptor, a stream is patient only if the opener sends nothing behind OPEN,
 * and if its request can be repeated: an agent that is lost before OPENED may have begun it.
 */
export function mayWait({ isPatient, role, receiving }: Stream, bit: number): boolean {
  if (!isPatient) return false;
  if (bit === PendingControl.fin) return role === 'opener';
  if (bit === PendingControl.credit) return receiving.hasFin;
  return bit === PendingControl.opened;
}
