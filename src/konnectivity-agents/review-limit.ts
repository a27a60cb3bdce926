import type { KonnectivityAgentsLimits } from './options.ts';
import { StandardAgentError } from './standard-agent-error.ts';

/** Bounds the reviews of tokens that are open, because anyone can send tokens. */
export class ReviewLimit {
  readonly #limits: Pick<KonnectivityAgentsLimits, 'maxReviews' | 'maxReviewsPerAddress'>;
  #open = 0;
  readonly #openByAddress = new Map<string, number>();

  constructor(limits: Pick<KonnectivityAgentsLimits, 'maxReviews' | 'maxReviewsPerAddress'>) {
    this.#limits = limits;
  }

  /** @throws StandardAgentError `authentication_unavailable` too many reviews are open */
  async run<T>(address: string, review: () => Promise<T>): Promise<T> {
    const own = this.#openByAddress.get(address) ?? 0;
    if (this.#open >= this.#limits.maxReviews || own >= this.#limits.maxReviewsPerAddress) {
      const sentence = 'too many tokens are being reviewed, connect again later';
      throw new StandardAgentError('authentication_unavailable', sentence);
    }
    this.#open++;
    this.#openByAddress.set(address, own + 1);
    try {
      return await review();
    } finally {
      this.#open--;
      const left = this.#openByAddress.get(address)! - 1;
      if (left > 0) this.#openByAddress.set(address, left);
      else this.#openByAddress.delete(address);
    }
  }
}
