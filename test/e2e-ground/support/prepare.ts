import { prepareClient } from './client.ts';
import { prepareUpstream } from './upstream.ts';

/** Builds the programs that the tests need. With a warm cache it takes a fraction of a second. */
export async function setup(): Promise<void> {
  const report = (line: string) => console.log(`e2e: ${line}`);
  await prepareClient(report);
  await prepareUpstream(report);
}
