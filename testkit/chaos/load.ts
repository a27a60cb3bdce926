import type { GoPrograms } from '../ground/go-programs.ts';
import { PacedTarget } from './paced-target.ts';
import type { Random } from './random.ts';
import { bytesPerSecond, carriers, dialOnce, runGo, Transfer, type Carry } from './transfers.ts';
import type { ChaosWorld } from './world.ts';

const bannerBytes = 200_000;
/** A stream lasts between these, in seconds, when nothing stalls it. */
const shortestS = 4;
const longestS = 15;

/** Successful streams of these kinds are only counted. */
const shortKinds: ReadonlySet<string> = new Set(['dial', 'go parallel', 'go server-first']);

/** Runs many long and short streams until it is stopped, and keeps the result of each. */
export class Load {
  readonly transfers: Transfer[] = [];
  /** Dials of short streams, too many to keep. */
  dials = 0;
  readonly #world: ChaosWorld;
  readonly #go: GoPrograms;
  readonly #random: Random;
  readonly #stopped = new AbortController();
  readonly #workers: Promise<unknown>[] = [];
  readonly #stack = new AsyncDisposableStack();

  constructor(world: ChaosWorld, go: GoPrograms, random: Random) {
    this.#world = world;
    this.#go = go;
    this.#random = random;
  }

  get openCount(): number {
    return this.transfers.filter(({ isOpen }) => isOpen).length;
  }

  /** @param lastsMs how long the whole run is planned to be: some streams live through all of it */
  async start(lastsMs: number): Promise<void> {
    for (const cluster of this.#world.clusters) {
      const addresses = this.#world.addressesOf(cluster);
      const echo = this.#stack.use(await PacedTarget.echo(addresses));
      const banner = this.#stack.use(await PacedTarget.banner(addresses, bannerBytes));
      for (const [kind, carry] of Object.entries(carriers)) {
        this.#repeat(() => this.#carry(kind, carry, cluster, this.#seconds()));
      }
      // A stall on the way takes its part of the time.
      this.#run('whole run', carriers['both ways']!, cluster, (0.8 * lastsMs) / 1000);
      this.#repeat(() => this.#dial(cluster, echo.port), 100);
      this.#repeat(() => this.#many('parallel', cluster, echo.port, '--count', '4'), 200);
      this.#repeat(
        () =>
          this.#many(
            'server-first',
            cluster,
            banner.port,
            ...['--bytes', `${bannerBytes}`],
            ...['--count', '3', '--until-eof'],
          ),
        300,
      );
    }
  }

  /** Begins no new streams, and resolves when the open streams have ended. */
  async finish(): Promise<void> {
    this.#stopped.abort();
    await Promise.all(this.#workers);
    await this.#stack.disposeAsync();
  }

  #seconds(): number {
    return this.#random.integer(shortestS, longestS);
  }

  #run(kind: string, carry: Carry, cluster: string, seconds: number): void {
    this.#workers.push(this.#carry(kind, carry, cluster, seconds));
  }

  /** Again and again, `pauseMs` after the last one or a while after a failure. */
  #repeat(work: () => Promise<boolean>, pauseMs = 0): void {
    const loop = async (): Promise<void> => {
      while (!this.#stopped.signal.aborted) {
        const good = await work();
        await new Promise((resolve) => setTimeout(resolve, good ? pauseMs : 500));
      }
    };
    this.#workers.push(loop());
  }

  #carry(kind: string, carry: Carry, cluster: string, seconds: number): Promise<boolean> {
    return this.#keep(new Transfer(kind, cluster), (transfer) =>
      carry(this.#world, this.#go, transfer, Math.round(seconds * bytesPerSecond)),
    );
  }

  #dial(cluster: string, port: number): Promise<boolean> {
    this.dials++;
    return this.#keep(new Transfer('dial', cluster), (transfer) =>
      dialOnce(this.#world, transfer, port),
    );
  }

  #many(
    subCommand: string,
    cluster: string,
    port: number,
    ...args: readonly string[]
  ): Promise<boolean> {
    const transfer = new Transfer(`go ${subCommand}`, cluster);
    return this.#keep(transfer, async () => {
      try {
        const run = await runGo(this.#world, this.#go, { cluster }, port, subCommand, ...args);
        this.dials += Number(run['count']);
      } catch (thrown) {
        const { message } = thrown as Error;
        // Of several connections, a broken one counts before one that never opened.
        const broke = message
          .split('; ')
          .some((text) => text.startsWith('connection ') && !/^connection \d+: dial/.test(text));
        if (broke) transfer.openedMs = performance.now();
        throw thrown;
      }
    });
  }

  async #keep(transfer: Transfer, work: (transfer: Transfer) => Promise<void>): Promise<boolean> {
    this.transfers.push(transfer);
    try {
      await work(transfer);
      return true;
    } catch (thrown) {
      transfer.error = thrown as Error;
      return false;
    } finally {
      transfer.endedMs = performance.now();
      const isShort = shortKinds.has(transfer.kind);
      if (isShort && transfer.error === undefined)
        this.transfers.splice(this.transfers.indexOf(transfer), 1);
    }
  }
}
