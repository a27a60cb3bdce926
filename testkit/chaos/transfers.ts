import { TunnelError } from '../../src/tunnel/errors.ts';
import type { GoPrograms } from '../ground/go-programs.ts';
import { frontFlags, type ClientRun } from '../ground/konnectivity-client.ts';
import { patternSha256 } from '../stream/pattern.ts';
import { startProgram } from '../processes/process.ts';
import { CheckedStream, WrongBytesError } from './checked-stream.ts';
import { PacedTarget, type ArrivalReport } from './paced-target.ts';
import type { ChaosWorld } from './world.ts';

const smallBytes = 32 * 1024;
/** How long the target may take to get the last of what a client has sent, in milliseconds. */
const arrivalLimitMs = 120_000;

/** One stream and its result. */
export class Transfer {
  readonly kind: string;
  readonly cluster: string;
  readonly startedMs = performance.now();
  /**
   * The address that its agent dialled; undefined until it did, and where several streams share a
   * row.
   */
  address: string | undefined;
  /** The progress of the stream, for the log. */
  progress: () => string = () => 'its client knows';
  openedMs: number | undefined;
  endedMs: number | undefined;
  error: Error | undefined;

  constructor(kind: string, cluster: string) {
    this.kind = kind;
    this.cluster = cluster;
  }

  /** The dialer in this process carries the others. */
  get throughBridge(): boolean {
    return this.kind.startsWith('go ');
  }

  /** Its target has taken the connection. */
  reached(address: string): void {
    this.address = address;
    this.openedMs = performance.now();
  }

  get isOpen(): boolean {
    return this.openedMs !== undefined && this.endedMs === undefined;
  }

  /** The stream never opened. It is a failed dial, not a lost stream. */
  get dialFailed(): boolean {
    return this.error !== undefined && this.openedMs === undefined;
  }

  get lost(): boolean {
    return this.error !== undefined && this.openedMs !== undefined && !this.wrongBytes;
  }

  get wrongBytes(): boolean {
    return this.error instanceof WrongBytesError;
  }
}

export type Carry = (
  world: ChaosWorld,
  go: GoPrograms,
  transfer: Transfer,
  bytes: number,
) => Promise<void>;

/**
 * Bytes per second of each stream: enough that every fault hits streams in full flow, little enough
 * for a small machine.
 */
export const bytesPerSecond = 512 * 1024;

/** The kinds of long streams; each rejects when something is not as it should be. */
export const carriers: Readonly<Record<string, Carry>> = {
  async 'go down'(world, go, transfer, bytes) {
    await using target = await PacedTarget.start(world.addressesOf(transfer.cluster), {
      sendBytes: bytes,
      sendAfter: 'first-byte',
      bytesPerSecond,
    });
    const run = await runHash(
      world,
      go,
      transfer,
      target,
      '--direction',
      'down',
      '--bytes',
      `${bytes}`,
    );
    if (run['sha256'] !== patternSha256(bytes)) throw new WrongBytesError('the sum is another one');
  },

  async 'go up'(world, go, transfer, bytes) {
    await using target = await PacedTarget.start(world.addressesOf(transfer.cluster), {
      confirmBytes: bytes,
      bytesPerSecond,
    });
    const flags = ['--direction', 'up', '--confirm', '--bytes', `${bytes}`];
    await runHash(world, go, transfer, target, ...flags);
    checkArrival(await arrival(target), bytes);
  },

  async 'both ways'(world, _go, transfer, bytes) {
    await using target = await PacedTarget.start(world.addressesOf(transfer.cluster), {
      sendBytes: bytes,
      bytesPerSecond,
    });
    const stream = await open(world, transfer, target);
    await stream.send(bytes, bytesPerSecond);
    stream.fin();
    await expectEnd(stream, target, { down: bytes, up: bytes });
  },

  async 'half-closed by us'(world, _go, transfer, bytes) {
    const script = { sendBytes: bytes, sendAfter: 'fin', bytesPerSecond } as const;
    await using target = await PacedTarget.start(world.addressesOf(transfer.cluster), script);
    const stream = await open(world, transfer, target);
    await stream.send(smallBytes, bytesPerSecond);
    stream.fin();
    await expectEnd(stream, target, { down: bytes, up: smallBytes });
  },

  async 'half-closed by the target'(world, _go, transfer, bytes) {
    const script = { sendBytes: smallBytes, bytesPerSecond };
    await using target = await PacedTarget.start(world.addressesOf(transfer.cluster), script);
    const stream = await open(world, transfer, target);
    await stream.finished;
    await stream.send(bytes, bytesPerSecond);
    stream.fin();
    await expectEnd(stream, target, { down: smallBytes, up: bytes });
  },
};

/** The agent of a stream, derived from the address at its target. */
function note(transfer: Transfer, target: PacedTarget): void {
  void target.reached.then((address) => (transfer.address = address));
}

async function open(
  world: ChaosWorld,
  transfer: Transfer,
  target: PacedTarget,
): Promise<CheckedStream> {
  note(transfer, target);
  const stream = new CheckedStream(world.dialer, transfer.cluster, target.port);
  await stream.opened;
  transfer.openedMs ??= performance.now();
  transfer.progress = () => `${stream.receivedBytes} bytes came down`;
  return stream;
}

async function expectEnd(
  stream: CheckedStream,
  target: PacedTarget,
  { down, up }: { readonly down: number; readonly up: number },
): Promise<void> {
  await stream.closed;
  if (stream.receivedBytes !== down)
    throw new WrongBytesError(`${stream.receivedBytes} of ${down} bytes came down`);
  checkArrival(await arrival(target), up);
}

async function arrival(target: PacedTarget): Promise<ArrivalReport> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`nothing is settled at the target after ${arrivalLimitMs} ms`)),
    arrivalLimitMs,
  );
  try {
    return await Promise.race([target.report, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function checkArrival({ receivedBytes, sha256, end }: ArrivalReport, bytes: number): void {
  if (end === 'reset')
    throw new Error(`the target was reset after ${receivedBytes} of ${bytes} bytes`);
  if (receivedBytes > bytes || sha256 !== patternSha256(receivedBytes)) {
    throw new WrongBytesError(`${receivedBytes} of ${bytes} bytes went up, or others`);
  }
  // A killed agent's system ends its connections in order, and konnectivity's CLOSE has no room for
  // a reason.
  if (receivedBytes < bytes) throw new Error(`only ${receivedBytes} of ${bytes} bytes went up`);
}

/**
 * Its dial cannot be seen from outside: the stream counts as open when its target is reached,
 * unless the client says otherwise.
 */
async function runHash(
  world: ChaosWorld,
  go: GoPrograms,
  transfer: Transfer,
  target: PacedTarget,
  ...args: readonly string[]
): Promise<ClientRun> {
  void target.reached.then((address) => transfer.reached(address));
  try {
    return await runGo(world, go, transfer, target.port, 'hash', ...args);
  } catch (thrown) {
    if (thrown instanceof GoClientError && thrown.run['bytes'] === undefined)
      transfer.openedMs = undefined;
    throw thrown;
  }
}

/** The error of the Go client. */
export class GoClientError extends Error {
  override readonly name = 'GoClientError';
  readonly run: ClientRun;

  constructor(message: string, run: ClientRun) {
    super(message);
    this.run = run;
  }
}

/** Runs the Go client; an error that it reports is thrown. @throws GoClientError */
export async function runGo(
  world: ChaosWorld,
  go: GoPrograms,
  { cluster }: Pick<Transfer, 'cluster'>,
  port: number,
  subCommand: string,
  ...args: readonly string[]
): Promise<ClientRun> {
  const flags = [
    ...frontFlags(world.fleet.front),
    '--to',
    `${cluster}:${port}`,
    '--timeout',
    '10m',
  ];
  await using program = startProgram({
    command: go.client,
    args: [subCommand, ...flags, ...args],
    name: `Go client ${subCommand}`,
  });
  await program.exited;
  const run = JSON.parse(program.stdout.trimEnd().split('\n').at(-1) ?? '') as ClientRun;
  if (!run.ok) {
    const errors = (run['errors'] as readonly string[] | null | undefined) ?? [];
    throw new GoClientError([run.error, ...errors].join('; '), run);
  }
  return run;
}

/** A dial that is answered with one echoed word by the dialer in this process. */
export async function dialOnce(world: ChaosWorld, transfer: Transfer, port: number): Promise<void> {
  const stream = new CheckedStream(world.dialer, transfer.cluster, port);
  await stream.opened;
  transfer.openedMs = performance.now();
  await stream.send(1000, bytesPerSecond);
  stream.fin();
  await stream.closed;
  if (stream.receivedBytes !== 1000)
    throw new WrongBytesError(`${stream.receivedBytes} of 1000 bytes were echoed`);
}

/** The dialer's error, for a table. */
export function codeOf(error: Error): string {
  return error instanceof TunnelError ? error.code : error.message;
}
