import { connectGround } from '../../../testkit/ground/kubernetes/ground.ts';
import { removeEverything } from './installation.ts';
import { removeTarget, startTarget } from './target.ts';

/** Before all files a clean ground with targets, afterwards a clean ground. E2E_KEEP=1 leaves the release where it is. */
export async function setup(): Promise<() => Promise<void>> {
  const keeps = process.env['E2E_KEEP'] === '1';
  const ground = await connectGround();
  if (!keeps) await removeEverything(ground);
  await Promise.all(ground.managed.map(startTarget));
  return async () => {
    if (keeps) return;
    await removeEverything(ground);
    await Promise.all(ground.managed.map(removeTarget));
  };
}
