import type { DebianProgram } from '../ground/debian-programs.ts';
import { freePort, startProgram, type Program } from '../processes/process.ts';

/** A real Redis that can be killed and started again on its port, without its data. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly #redis: DebianProgram;
  #program: Program;

  private constructor(redis: DebianProgram, port: number) {
    this.#redis = redis;
    this.port = port;
    this.#program = this.#start();
  }

  static async start(redis: DebianProgram): Promise<RedisServer> {
    const server = new RedisServer(redis, await freePort());
    await server.#program.waitForPort(server.port);
    return server;
  }

  get program(): Program {
    return this.#program;
  }

  async kill(): Promise<void> {
    this.#program.kill('SIGKILL');
    await this.#program.exited;
  }

  /** Starts Redis again after its end. */
  async restart(): Promise<void> {
    this.#program = this.#start();
    await this.#program.waitForPort(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#program.kill('SIGKILL');
    await this.#program.stop();
  }

  #start(): Program {
    const { command, args, env } = this.#redis;
    const own = [
      '--port',
      `${this.port}`,
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
    ];
    return startProgram({ command, args: [...args, ...own], env, name: 'redis-server' });
  }
}
