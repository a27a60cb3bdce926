import type { Duplex } from 'node:stream';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { echo, openClient } from './front-client.ts';
import { startTarget, type TestTarget } from './target.ts';
import { startWorld, type World } from './world.ts';

/** Processes that a test attacks, and an honest client that the attack must not disturb. */
export class AbusedWorld implements AsyncDisposable {
  readonly world: World;
  readonly target: TestTarget;
  readonly client: KonnectivityClient;
  #honest: Duplex | undefined;

  constructor(world: World, target: TestTarget, client: KonnectivityClient) {
    this.world = world;
    this.target = target;
    this.client = client;
  }

  /** Gives the honest client a new connection, for the next attack. */
  async dialHonestly(): Promise<void> {
    this.#honest = await this.client.dial(`cluster1:${this.target.port}`);
  }

  /** Sends a word over the honest client's connection; resolves with the word that comes back. */
  readonly probe = (): Promise<string> => {
    if (this.#honest === undefined) throw new Error('there is no honest connection yet');
    return echo(this.#honest, 'undisturbed');
  };

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await Promise.all([this.world[Symbol.asyncDispose](), this.target.close()]);
  }
}

export async function startAbusedWorld(): Promise<AbusedWorld> {
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await startWorld({ plain: true, commonArgs: ['--log-level', 'info'] }));
  const target = stack.use(await startTarget({ mode: 'echo' }));
  const client = await openClient(world.front);
  stack.move();
  return new AbusedWorld(world, target, client);
}
