import type { AgentClaim, AgentRecord, Directory } from './directory.ts';

/**
 * What the directory knows of a tunnel: nothing, then that it is here, perhaps that it retires, and nothing again. Answers of the
 * directory come late: what has been said of the tunnel meanwhile counts.
 */
export class TunnelClaim {
  /** It is made: sessions may be placed on the tunnel. */
  established = false;
  /** 0 before it is made. */
  epoch = 0;
  readonly #directory: Directory;
  #record: AgentRecord | undefined;
  /** Made when somebody waits. */
  #made: PromiseWithResolvers<void> | undefined;
  #ended = false;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** It was made in an earlier life of this process; `record` is undefined where it has been withdrawn since. */
  restore(epoch: number, record: AgentRecord | undefined): void {
    this.epoch = epoch;
    this.established = true;
    this.#record = record;
  }

  /** Resolves when it is made, or has ended before. */
  get made(): Promise<void> {
    if (this.established || this.#ended) return Promise.resolve();
    this.#made ??= Promise.withResolvers();
    return this.#made.promise;
  }

  /** False: the tunnel was gone before the directory answered, and the claim is taken back. */
  async make(claim: AgentClaim): Promise<boolean> {
    const record = await this.#directory.claim(claim);
    if (this.#ended) {
      await this.#directory.release(record);
      return false;
    }
    this.#record = record;
    this.epoch = record.epoch;
    this.established = true;
    this.#made?.resolve();
    return true;
  }

  /** From now on the tunnel is found after others. */
  async retire(): Promise<void> {
    if (this.#record !== undefined) await this.#directory.retire(this.#record);
  }

  /** From now on the tunnel cannot be found. Idempotent. */
  async withdraw(): Promise<void> {
    const record = this.#record;
    this.#record = undefined;
    if (record !== undefined) await this.#directory.release(record);
  }

  /** The tunnel is gone: nobody waits for the claim any more. `withdraw` follows. */
  end(): void {
    this.#ended = true;
    this.#made?.resolve();
  }
}
