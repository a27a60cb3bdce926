/** Control frames that a stream has to send, as bits. They go before any data. */
export const PendingControl = { open: 1, opened: 2, credit: 4, fin: 8, reset: 16 } as const;
