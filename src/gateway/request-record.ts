import type { Action } from '../access/action.ts';
import type { Authentication } from '../access/request-authenticator.ts';
import type { Grant, LiveGrants } from '../access/live-grants.ts';
import type { Clock } from '../base/clock.ts';
import type { AuditHook } from './audit.ts';
import type { GatewayError } from './gateway-error.ts';
import type { Release } from './user-limits.ts';

export interface RequestRecordParts {
  readonly method: string;
  readonly address: string;
  readonly clock: Clock;
  readonly audit: AuditHook;
}

/** What serves a request. An object, so that no request needs a closure. */
export interface RequestOwner {
  /** The user has lost the right to the request while it is open. */
  onRevoked(reason: string): void;
}

/** Checks open requests again when the rules change. */
export type RequestGrants = Pick<LiveGrants, 'add' | 'remove'>;

/** The facts about one request that its audit event needs, as they become known. */
export class RequestRecord {
  readonly #parts: RequestRecordParts;
  readonly #startedAtMs: number;
  #cluster: string | undefined;
  #action: Action | undefined;
  #isLongRunning = false;
  #authentication: Authentication | undefined;
  #code = 0;
  #failure: GatewayError | undefined;
  #release: Release | undefined;
  #endGrant: (() => void) | undefined;
  #hasEnded = false;
  /** Undefined until the request is served. */
  owner: RequestOwner | undefined;
  /** Bytes of the body that were sent to the client. */
  sentBytes = 0;

  constructor(parts: RequestRecordParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.now();
  }

  get cluster(): string | undefined {
    return this.#cluster;
  }

  get isLongRunning(): boolean {
    return this.#isLongRunning;
  }

  routed(cluster: string, action: Action, isLongRunning: boolean): void {
    this.#cluster = cluster;
    this.#action = action;
    this.#isLongRunning = isLongRunning;
  }

  authenticated(authentication: Authentication): void {
    this.#authentication = authentication;
  }

  /** The request holds a part of its user's limits until it ends. */
  holds(release: Release): void {
    if (this.#hasEnded) release();
    else this.#release = release;
  }

  /** The rules must allow the request as long as it is open. */
  isGrantedBy(grants: RequestGrants, request: Omit<Grant, 'end'>): void {
    if (this.#hasEnded) return;
    const grant: Grant = { ...request, end: (reason) => this.owner?.onRevoked(reason) };
    grants.add(grant);
    this.#endGrant = () => grants.remove(grant);
  }

  /** The server has answered with this code. */
  answered(code: number): void {
    this.#code = code;
  }

  /** The gateway answers itself. */
  failed(error: GatewayError): void {
    this.#code = error.code;
    this.#failure = error;
  }

  /** Ends the request. Idempotent. */
  end(isComplete: boolean): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#release?.();
    this.#endGrant?.();
    const { method, address, clock, audit } = this.#parts;
    const authentication = this.#authentication;
    const subject = authentication?.subject;
    const failure = this.#failure;
    audit({
      method,
      address,
      cluster: this.#cluster,
      action: this.#action,
      user: subject?.user,
      source: subject?.source,
      impersonatedUser: authentication?.kind === 'impersonate' ? authentication.user : undefined,
      code: this.#code,
      failure: failure && { reason: failure.reason, hop: failure.hop },
      isComplete,
      isLongRunning: this.#isLongRunning,
      sentBytes: this.sentBytes,
      durationMs: clock.now() - this.#startedAtMs,
    });
  }
}
