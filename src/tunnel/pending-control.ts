import type { Stream } from './stream.ts';

/** Control frames that a stream has to send, as bits. They go before any data. */
export const PendingControl = { open: 1, opened: 2, credit: 4, fin: 8, reset: 16 } as const;

/**
 * Whether a frame may wait for others, because nobody waits for it. A frame that leaves alone costs
 * as much as a short exchange. For every stream this is the opener's last CREDIT, behind which both
 * directions are over. For a patient stream it is also OPENED, the opener's FIN, and the CREDIT for
 * a FIN. At the acceptor, a stream is patient only if the opener sends nothing behind OPEN, and if
 * its request can be repeated: an agent that is lost before OPENED may have begun it.
 */
export function mayWait({ isPatient, role, receiving, sending }: Stream, bit: number): boolean {
  switch (bit) {
    case PendingControl.credit:
      return receiving.hasFin && (isPatient || (role === 'opener' && sending.isFinAcknowledged));
    case PendingControl.fin:
      return isPatient && role === 'opener';
    default:
      return isPatient && bit === PendingControl.opened;
  }
}
