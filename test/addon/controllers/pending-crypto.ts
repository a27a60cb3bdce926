const operations = ['generateKey', 'importKey', 'exportKey', 'sign', 'verify', 'digest'] as const;
let pending = 0;

type Operation = (...args: readonly unknown[]) => Promise<unknown>;
const subtle = crypto.subtle as unknown as Record<(typeof operations)[number], Operation>;
for (const name of operations) {
  const run = subtle[name].bind(subtle);
  subtle[name] = async (...args) => {
    pending++;
    try {
      return await run(...args);
    } finally {
      pending--;
    }
  };
}

/** Waits for running key generation. It uses threads, for which virtual time does not wait. */
export async function cryptoIdle(): Promise<void> {
  for (let quiet = 0; quiet < 3; quiet++) {
    if (pending > 0) quiet = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
