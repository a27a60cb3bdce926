import type { AgentClaim, AgentRecord, Directory } from './directory.ts';

/**
 * A tunnel's claim in the directory: first absent, then made, perhaps retired, and finally
 * withdrawn. The directory answers late, so whatever has happened to the tunnel in the meantime
 * decides.
 */
export class TunnelClaim {
  /** The claim is made: sessions may be placed on the tunnel. */
  established = false;
  /** 0 before the claim is made. */
  epoch = 0;
  readonly #directory: Directory;
  #record: AgentRecord | undefined;
  /** Created when a session waits for the claim. */
  #made: PromiseWithResolvers<void> | undefined;
  #ended = false;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /**
   * Takes back a claim that an earlier relay has made.
   *
   * @param record undefined: that relay has withdrawn the claim
   */
  restore(epoch: number, record: AgentRecord | undefined): void {
    this.epoch = epoch;
    this.established = true;
    this.#record = record;
  }

  /** Resolves when the claim is made, or when the tunnel is gone before that. */
  get made(): Promise<void> {
    if (this.established || this.#ended) return Promise.resolve();
    this.#made ??= Promise.withResolvers();
    return this.#made.promise;
  }

  /**
   * @returns false: the tunnel was gone before the directory answered, and the claim was released
   */
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

  /** From now on, sessions find other tunnels first. */
  async retire(): Promise<void> {
    if (this.#record !== undefined) await this.#directory.retire(this.#record);
  }

  /** From now on, sessions do not find the tunnel. Idempotent. */
  async withdraw(): Promise<void> {
    const record = this.#record;
    this.#record = undefined;
    if (record !== undefined) await this.#directory.release(record);
  }

  /** The tunnel is gone: sessions stop waiting for its claim. Call `withdraw` afterwards. */
  end(): void {
    this.#ended = true;
    this.#made?.resolve();
  }
}
