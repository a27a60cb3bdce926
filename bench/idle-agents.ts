// Many idle agents, each of a cluster of its own, in one process: node bench/idle-agents.ts URL
// TOKENS COUNT [CA]. TOKENS is a file with the token of cluster c0 on its first line, and so on.
// Commands on stdin, one JSON line back for each: `connect` opens all, `wait` resolves when every
// one is connected (again), or has had 180 s.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Backoff } from '../src/base/backoff.ts';
import { FrameType } from '../src/tunnel/frame.ts';
import type { LinkOwner } from '../src/tunnel/link.ts';
import { encodeMessage, protocolVersion } from '../src/tunnel/message.ts';
import { ConnectError } from '../src/tunnel/connect-error.ts';
import { connectWebSocket } from '../src/websocket/connect.ts';

const [url, tokensFile, countText, caFile] = process.argv.slice(2);
const count = Number(countText);
const tokens = readFileSync(tokensFile!, 'utf8').split('\n');
const ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8');
const hello = encodeMessage({ ...protocolVersion, software: 'bench' });
const atOnce = 128;

/** An agent that is not connected after this time counts as refused. */
const giveUpAfterMs = 180_000;

let connected = 0;
let refused = 0;
let dialing = 0;
const queue: (() => void)[] = [];
let waiter: (() => void) | undefined;
/** When each tunnel came back after the last loss, in milliseconds since the first loss. */
let backAfterMs: number[] = [];
let lostAtMs: number | undefined;

/** A simulated agent: a tunnel that carries nothing and is made again when it is lost. */
class IdleAgent implements LinkOwner {
  readonly #number: number;
  readonly #backoff = new Backoff();
  #welcomed = false;

  constructor(number: number) {
    this.#number = number;
  }

  async connect(): Promise<void> {
    await turn();
    try {
      const link = await connectWebSocket({
        url: new URL('v1/agent', `${url}/`),
        headers: {
          Authorization: `Bearer ${tokens[this.#number]}`,
          'Culvert-Cluster': `c${this.#number}`,
          'Culvert-Agent': `agent-${this.#number}`,
        },
        ca,
        signal: AbortSignal.timeout(30_000),
      });
      link.attach(this);
      link.sendCopy(FrameType.hello, 0, 0, hello);
    } catch (thrown) {
      const after = thrown instanceof ConnectError ? (thrown.retryAfterMs ?? 0) : 0;
      refused++;
      this.#again(after);
    } finally {
      done();
    }
  }

  onFrame(type: FrameType): void {
    if (type !== FrameType.welcome) return;
    connected++;
    this.#welcomed = true;
    this.#backoff.reset();
    if (lostAtMs !== undefined) backAfterMs.push(performance.now() - lostAtMs);
    if (connected === count) waiter?.();
  }

  onData(): void {}
  pull(): void {}

  onClose(): void {
    lostAtMs ??= performance.now();
    // A tunnel may be lost before it is established.
    if (this.#welcomed) connected--;
    this.#welcomed = false;
    this.#again(0);
  }

  #again(atLeastMs: number): void {
    setTimeout(() => void this.connect(), this.#backoff.nextDelayMs(atLeastMs));
  }
}

/** The limit of concurrent handshakes. They cost the client CPU time, too, and would time out. */
function turn(): Promise<void> {
  if (dialing < atOnce) {
    dialing++;
    return Promise.resolve();
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  queue.push(resolve);
  return promise;
}

function done(): void {
  const next = queue.shift();
  if (next === undefined) dialing--;
  else next();
}

const quantile = (values: readonly number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] ?? 0;

createInterface({ input: process.stdin }).on('line', (command) => {
  if (command === 'connect') {
    for (let i = 0; i < count; i++) void new IdleAgent(i).connect();
  }
  if (command === 'storm') {
    lostAtMs = undefined;
    backAfterMs = [];
    refused = 0;
    // The agents lose their tunnels when the broker is killed. Until then, no command waits.
    console.log('{"event":"ready"}');
    return;
  }
  const startedAt = performance.now();
  waiter = () => {
    waiter = undefined;
    clearTimeout(givingUp);
    const report = {
      event: 'connected',
      connected,
      refused,
      tookMs: Math.round(performance.now() - startedAt),
      backP50Ms: Math.round(quantile(backAfterMs, 0.5)),
      backP99Ms: Math.round(quantile(backAfterMs, 0.99)),
      backMaxMs: Math.round(quantile(backAfterMs, 1)),
    };
    console.log(JSON.stringify(report));
  };
  const givingUp = setTimeout(waiter, giveUpAfterMs);
  if (connected === count && command === 'wait') waiter();
});
