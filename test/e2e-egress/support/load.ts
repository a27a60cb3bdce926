import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../../testkit/ground/kubernetes/wait.ts';
import { startProgram, type Program } from '../../../testkit/processes/process.ts';
import type { Hub } from './hub.ts';
import { apiVersion, nodeName, podName, reviewed } from './objects.ts';

/** Between two requests of a kind. */
export const loadIntervalMs = 100;
/** Longer than every limit of the kube-apiserver on the way. */
const requestTimeoutMs = 60_000;

/** The kinds of traffic. `control` needs no tunnel. */
export const loadKinds = ['aggregated', 'webhook', 'logs', 'node', 'control'] as const;
export type LoadKind = (typeof loadKinds)[number];

const requests: Readonly<Record<LoadKind, readonly [method: string, path: string, body?: object]>> =
  {
    aggregated: ['GET', `/apis/${apiVersion}/echoes/load`],
    webhook: ['POST', '/api/v1/namespaces/default/configmaps?dryRun=All', reviewed('by-service')],
    logs: ['GET', `/api/v1/namespaces/default/pods/${podName}/log?tailLines=1`],
    node: ['GET', `/api/v1/nodes/${nodeName}/proxy/configz`],
    control: ['GET', '/api/v1/namespaces/default'],
  };

export interface KindResult {
  readonly requests: number;
  readonly failed: number;
  /** The longest time between two successes, in milliseconds. */
  readonly gapMs: number;
  /** The first answer that was a failure. */
  readonly firstFailure: string | undefined;
}

export type LoadResult = Readonly<Record<LoadKind, KindResult>>;

/** Ten requests of each kind per second to a kube-apiserver, whether earlier ones are answered or not. */
export class Load {
  readonly #hub: Hub;
  readonly #stop = new AbortController();
  /** Successes since the last failure, or since `untilSteady` was called. */
  readonly #successes = new Map<LoadKind, number>();
  readonly #running: Promise<LoadResult>;

  private constructor(hub: Hub) {
    this.#hub = hub;
    this.#running = this.#run();
  }

  /** Starts the load when every kind has succeeded several times in a row. */
  static async start(hub: Hub): Promise<Load> {
    for (const kind of loadKinds) {
      let successes = 0;
      await waitFor(
        async () => {
          const failure = await failureOf(hub, kind).catch(String);
          successes = failure === undefined ? successes + 1 : 0;
          return successes === 5;
        },
        { what: `answers to ${kind}`, timeoutMs: 60_000, pollMs: 20 },
      );
    }
    return new Load(hub);
  }

  /** Resolves when the last two seconds of each kind had no failure. */
  async untilSteady(): Promise<void> {
    for (const kind of loadKinds) this.#successes.set(kind, 0);
    await waitFor(async () => loadKinds.every((kind) => this.#successes.get(kind)! >= 20), {
      what: 'recovery of all traffic',
      timeoutMs: 90_000,
    });
  }

  /** Sends no further requests, and resolves when all are answered. */
  stop(): Promise<LoadResult> {
    this.#stop.abort();
    return this.#running;
  }

  async #run(): Promise<LoadResult> {
    const results = await Promise.all(
      loadKinds.map(async (kind) => [kind, await this.#runKind(kind)] as const),
    );
    return Object.fromEntries(results) as LoadResult;
  }

  async #runKind(kind: LoadKind): Promise<KindResult> {
    const pending = new Set<Promise<void>>();
    const startedMs = performance.now();
    let [count, failed, gapMs, succeededMs] = [0, 0, 0, startedMs];
    let firstFailure: string | undefined;
    const request = async (): Promise<void> => {
      const failure = await failureOf(this.#hub, kind).catch(String);
      if (failure !== undefined) {
        failed++;
        this.#successes.set(kind, 0);
        firstFailure ??= failure;
        return;
      }
      this.#successes.set(kind, (this.#successes.get(kind) ?? 0) + 1);
      const nowMs = performance.now();
      gapMs = Math.max(gapMs, nowMs - succeededMs);
      succeededMs = nowMs;
    };
    while (!this.#stop.signal.aborted) {
      const sent = request().finally(() => pending.delete(sent));
      pending.add(sent);
      // The next request is due at a fixed time, so that a busy machine sends as many.
      count++;
      await sleep(Math.max(0, startedMs + count * loadIntervalMs - performance.now()));
    }
    await Promise.all(pending);
    return { requests: count, failed, gapMs, firstFailure };
  }
}

/** Why the request fails; undefined: it succeeds. */
async function failureOf(hub: Hub, kind: LoadKind): Promise<string | undefined> {
  const [method, path, body] = requests[kind];
  const signal = AbortSignal.timeout(requestTimeoutMs);
  const { status, body: answer } = await hub.request(method, path, body, signal);
  return status === 200 || status === 201 ? undefined : `${status} ${answer}`;
}

export interface FollowedResult {
  readonly lines: number;
  /** How many lines are missing between the first one and the last one. */
  readonly missing: number;
  /** The exit code, if it ended before it was stopped. */
  readonly endedWith: number | null | undefined;
}

/** `kubectl logs -f` of a container that writes a numbered line each 20 ms. */
export class FollowedLogs implements AsyncDisposable {
  readonly #program: Program;
  #endedWith: number | null | undefined;

  private constructor(hub: Hub) {
    const args = ['logs', '-f', podName, '--tail=0'];
    this.#program = startProgram({
      ...hub.kubectl.commandLine(args),
      name: 'kubectl logs -f',
      killAfterMs: 100,
    });
    void this.#program.exited.then(({ code }) => (this.#endedWith = code));
  }

  /** Resolves when lines arrive. */
  static async start(hub: Hub): Promise<FollowedLogs> {
    const logs = new FollowedLogs(hub);
    await logs.#program.waitForLine(/^line 20$/);
    return logs;
  }

  /** Waits until it has a line that was written after this call, or has ended. */
  async untilLater(): Promise<void> {
    const lines = this.#lines().length;
    await waitFor(async () => this.#endedWith !== undefined || this.#lines().length > lines + 20, {
      what: 'further lines',
      timeoutMs: 60_000,
    });
  }

  async stop(): Promise<FollowedResult> {
    const endedWith = this.#endedWith;
    await this.#program.stop();
    const numbers = this.#lines();
    const expected = (numbers.at(-1) ?? 0) - (numbers[0] ?? 0) + 1;
    return { lines: numbers.length, missing: expected - numbers.length, endedWith };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
  }

  #lines(): number[] {
    return Array.from(this.#program.stdout.matchAll(/^line (\d+)$/gm), ([, line]) => Number(line));
  }
}
