import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Missing } from '../ground/cache.ts';

const run = promisify(execFile);
let count = 0;

/** A network namespace that is joined to this one by a cable. */
export class NetworkNamespace implements AsyncDisposable {
  readonly name: string;
  /** The address of the namespace, which this one reaches. */
  readonly address: string;
  readonly #here: string;

  private constructor(name: string, here: string, address: string) {
    this.name = name;
    this.address = address;
    this.#here = here;
  }

  static async create(): Promise<NetworkNamespace> {
    const id = `${process.pid.toString(36)}${count++}`;
    const [name, here, there] = [`culvert-${id}`, `cv${id}a`, `cv${id}b`];
    // Documentation addresses (RFC 5737), a pair for each cable.
    const pair = 4 * ((process.pid + count) % 60);
    const address = `203.0.113.${pair + 2}`;
    const namespace = new NetworkNamespace(name, here, address);
    await ip('netns', 'add', name);
    try {
      await ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', name);
      await ip('address', 'add', `203.0.113.${pair + 1}/30`, 'dev', here);
      await ip('link', 'set', here, 'up');
      await ip('-n', name, 'address', 'add', `${address}/30`, 'dev', there);
      await ip('-n', name, 'link', 'set', there, 'up');
    } catch (thrown) {
      await namespace[Symbol.asyncDispose]();
      throw thrown;
    }
    return namespace;
  }

  /** Cuts the cable. Packets are lost, and neither end is informed. */
  async cut(): Promise<void> {
    await ip('link', 'set', this.#here, 'down');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Takes the other end of the cable along.
    await ip('netns', 'delete', this.name);
  }
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
