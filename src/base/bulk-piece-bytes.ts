/**
 * The size of the pieces in which bulk data passes through the programs, in bytes: of a read from a
 * socket, which becomes a DATA frame of the tunnel, and of two packets of konnectivity. With the
 * heads of all these protocols, a piece fits in four records of TLS (16 KiB each). A few bytes more
 * would be a fifth record in a write of its own, which costs each end as much as a full one.
 */
export const bulkPieceBytes = 64 * 1024 - 128;
