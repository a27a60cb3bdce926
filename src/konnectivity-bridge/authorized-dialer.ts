import { AccessError } from '../access/access-error.ts';
import type { TcpAction } from '../access/action.ts';
import type { Grant, LiveGrants } from '../access/live-grants.ts';
import type { Subject } from '../access/subject.ts';
import type { WatchedAuthorizer } from '../access/watched-authorizer.ts';
import type { Dialer, OpenOptions } from '../dialer/dialer.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import { DeferredStream } from './deferred-stream.ts';

export interface AccessRules {
  readonly authorizer: WatchedAuthorizer;
  /** Ends connections that are not allowed any more. */
  readonly grants: LiveGrants;
}

/** Opens only the streams that the rules allow its subject. Others end with code `forbidden`. */
export class AuthorizedDialer implements Pick<Dialer, 'open'> {
  readonly #dialer: Pick<Dialer, 'open'>;
  readonly #subject: Subject;
  readonly #rules: AccessRules;

  constructor(dialer: Pick<Dialer, 'open'>, subject: Subject, rules: AccessRules) {
    this.#dialer = dialer;
    this.#subject = subject;
    this.#rules = rules;
  }

  open(options: OpenOptions, handler: StreamHandler): TunnelStream {
    const { target } = options;
    if (target.kind !== 'tcp') throw new Error('a bridge dials TCP targets only');
    const { host, port } = target;
    const stream = new AuthorizedStream(handler, this.#rules.grants);
    void stream.start(
      { subject: this.#subject, cluster: options.cluster, action: { kind: 'tcp', host, port } },
      { rules: this.#rules, open: (own) => this.#dialer.open(options, own) },
    );
    return stream;
  }
}

interface Request extends Omit<Grant, 'end'> {
  readonly action: TcpAction;
}

/** A stream that waits for the decision, and then passes everything on. */
class AuthorizedStream extends DeferredStream {
  readonly #grants: LiveGrants;
  readonly #decision = new AbortController();
  #grant: Grant | undefined;

  constructor(handler: StreamHandler, grants: LiveGrants) {
    super(handler);
    this.#grants = grants;
  }

  async start(
    request: Request,
    {
      rules,
      open,
    }: {
      readonly rules: AccessRules;
      readonly open: (handler: StreamHandler) => TunnelStream;
    },
  ): Promise<void> {
    const refusal = await refusalOf(request, rules, this.#decision.signal);
    if (this.#decision.signal.aborted) return;
    if (refusal !== undefined) {
      this.handler.onClose(refusal);
      return;
    }
    this.stream = open(this);
    this.#grant = { ...request, end: (reason) => this.#end(reason) };
    this.#grants.add(this.#grant);
  }

  override write(bytes: Uint8Array): boolean {
    return this.stream!.write(bytes);
  }

  override reset(error: TunnelError): void {
    if (this.stream !== undefined) {
      this.stream.reset(error);
      return;
    }
    if (this.#decision.signal.aborted) return;
    this.#decision.abort(error);
    // Handlers are not called from inside a method.
    queueMicrotask(() => this.handler.onClose(error));
  }

  override consumed(bytes: number): void {
    this.stream!.consumed(bytes);
  }

  override onClose(error: TunnelError | undefined): void {
    this.#grants.remove(this.#grant!);
    this.handler.onClose(error);
  }

  #end(reason: string): void {
    this.stream!.reset(new TunnelError('forbidden', reason));
  }
}

/** Undefined: the request is allowed. A decision that cannot be made is a refusal. */
async function refusalOf(
  { subject, cluster, action }: Request,
  { authorizer }: AccessRules,
  signal: AbortSignal,
): Promise<TunnelError | undefined> {
  try {
    const verdict = await authorizer.authorize(subject, cluster, action, signal);
    return verdict.allowed ? undefined : new TunnelError('forbidden', verdict.reason);
  } catch (thrown) {
    if (!(thrown instanceof AccessError)) return TunnelError.from(thrown);
    const sentence = `it cannot be decided now whether this is allowed: ${thrown.message}`;
    return new TunnelError('overloaded', sentence, { cause: thrown });
  }
}
