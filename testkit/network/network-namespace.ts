import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Missing } from '../ground/cache.ts';
import type { ProgramOptions } from '../processes/process.ts';

const run = promisify(execFile);
let count = 0;

/** A network namespace that is joined by a cable to this one, or to another namespace. */
export class NetworkNamespace implements AsyncDisposable {
  readonly name: string;
  /** The address of the namespace, which the other end of the cable reaches. */
  readonly address: string;
  /** The address of the other end of the cable, which the namespace reaches. */
  readonly otherAddress: string;
  readonly #here: string;
  readonly #beside: NetworkNamespace | undefined;

  private constructor(
    name: string,
    cable: { readonly here: string; readonly address: string; readonly otherAddress: string },
    beside: NetworkNamespace | undefined,
  ) {
    this.name = name;
    this.address = cable.address;
    this.otherAddress = cable.otherAddress;
    this.#here = cable.here;
    this.#beside = beside;
  }

  /** @param beside the namespace at the other end of the cable (default: this one) */
  static async create(beside?: NetworkNamespace): Promise<NetworkNamespace> {
    const id = `${process.pid.toString(36)}${count++}`;
    const [name, here, there] = [`culvert-${id}`, `cv${id}a`, `cv${id}b`];
    // Documentation addresses (RFC 5737), a pair for each cable.
    const pair = 4 * ((process.pid + count) % 60);
    const [otherAddress, address] = [`203.0.113.${pair + 1}`, `203.0.113.${pair + 2}`];
    const namespace = new NetworkNamespace(name, { here, address, otherAddress }, beside);
    await ip('netns', 'add', name);
    try {
      const at = inside(beside);
      await ip(...at, 'link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', name);
      await ip(...at, 'address', 'add', `${otherAddress}/30`, 'dev', here);
      await ip(...at, 'link', 'set', here, 'up');
      await ip('-n', name, 'link', 'set', 'lo', 'up');
      await ip('-n', name, 'address', 'add', `${address}/30`, 'dev', there);
      await ip('-n', name, 'link', 'set', there, 'up');
    } catch (thrown) {
      await namespace[Symbol.asyncDispose]();
      throw thrown;
    }
    return namespace;
  }

  /** Gives the namespace another address, which only programs inside it reach. */
  async addAddress(address: string): Promise<void> {
    await ip('-n', this.name, 'address', 'add', `${address}/32`, 'dev', 'lo');
  }

  /** The same program, inside the namespace. */
  inside<Options extends ProgramOptions>(program: Options): Options {
    const args = ['netns', 'exec', this.name, program.command, ...(program.args ?? [])];
    // ip(8) replaces itself, so signals reach the program.
    return { ...program, command: 'ip', args, name: program.name ?? program.command };
  }

  /** Cuts the cable. Packets are lost, and neither end is informed. */
  async cut(): Promise<void> {
    await ip(...inside(this.#beside), 'link', 'set', this.#here, 'down');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Takes the other end of the cable along.
    await ip('netns', 'delete', this.name);
  }
}

function inside(namespace: NetworkNamespace | undefined): string[] {
  return namespace === undefined ? [] : ['-n', namespace.name];
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}

/** Makes network namespaces, or has the reason why this machine cannot. */
export async function networkNamespaces(): Promise<
  { create(): Promise<NetworkNamespace> } | Missing
> {
  try {
    await (await NetworkNamespace.create())[Symbol.asyncDispose]();
    return { create: () => NetworkNamespace.create() };
  } catch (thrown) {
    const reason = (thrown as Error).message.split('\n')[0] ?? '';
    return { missing: 'network namespaces', reason: `root and ip(8) are needed: ${reason}` };
  }
}
