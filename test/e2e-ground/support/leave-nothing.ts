import { connectGround } from '../../../testkit/ground/kubernetes/ground.ts';
import { removeEverything } from './installation.ts';
import { removeTarget, startTarget } from './target.ts';

/**
 * Cleans the clusters before and after all files, and starts targets before. E2E_KEEP=1 keeps the
 * release afterwards.
 */
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
