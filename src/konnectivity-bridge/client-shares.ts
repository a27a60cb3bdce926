import type { Clock } from '../base/clock.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { CertificateSubject } from '../konnectivity/certificate-subject.ts';
import type { StreamShare } from '../tunnel/stream-request.ts';
import { LimitedStream } from './limited-stream.ts';
import { type UsageRates, UsageLimits } from './usage-limit.ts';

type Opener = Pick<Dialer, 'open'>;

/** How clients of a bridge share its sessions, and how much each of them may use. */
export interface ShareOptions {
  readonly client?: UsageRates | undefined;
  readonly cluster?: UsageRates | undefined;
  /** By the common name of the client's certificate (default: 1). */
  readonly weights?: ReadonlyMap<string, number> | undefined;
}

/** So many clients have a group of their own. Then the group of the oldest one is forgotten. */
const maxClients = 10_000;

/**
 * Gives each client its share: a dialer whose streams have the group and the weight of the client,
 * and wait for its limits and those of the cluster. A client is the common name of a certificate.
 * All clients without a certificate are one client, and so are all that show tokens.
 */
export class ClientShares {
  readonly #weights: ReadonlyMap<string, number>;
  readonly #ofClients: UsageLimits;
  readonly #ofClusters: UsageLimits;
  readonly #clock: Clock;
  readonly #shares = new Map<string, StreamShare>();
  #lastGroup = 0;

  constructor({ client = {}, cluster = {}, weights = new Map() }: ShareOptions, clock: Clock) {
    this.#weights = weights;
    this.#ofClients = new UsageLimits(client, clock);
    this.#ofClusters = new UsageLimits(cluster, clock);
    this.#clock = clock;
  }

  /** The dialer for a client: `dialer` itself if nothing distinguishes clients. */
  dialerOf(subject: CertificateSubject | undefined, dialer: Opener): Opener {
    const name = subject?.commonNames[0];
    const isLimited = this.#ofClients.isLimited || this.#ofClusters.isLimited;
    if (name === undefined && !isLimited) return dialer;
    const share = name === undefined ? undefined : this.#shareOf(name);
    return {
      open: (options, handler) => {
        const shared = share === undefined ? options : { ...options, share };
        if (!isLimited) return dialer.open(shared, handler);
        const limits = [];
        if (this.#ofClients.isLimited) limits.push(this.#ofClients.use(name ?? ''));
        if (this.#ofClusters.isLimited) limits.push(this.#ofClusters.use(options.cluster));
        return new LimitedStream({ dialer, clock: this.#clock, limits }, shared, handler);
      },
    };
  }

  #shareOf(name: string): StreamShare {
    const known = this.#shares.get(name);
    if (known !== undefined) return known;
    if (this.#shares.size >= maxClients) {
      const [oldest] = this.#shares.keys();
      this.#shares.delete(oldest!);
    }
    const share = { group: ++this.#lastGroup, weight: this.#weights.get(name) ?? 1 };
    this.#shares.set(name, share);
    return share;
  }
}
