import type { Action } from '../access/action.ts';
import type { SubjectSource } from '../access/subject.ts';
import type { StatusReason, Hop } from './gateway-error.ts';

/** One request, after its end. It holds no credential and no query. */
export interface AuditEvent {
  readonly method: string;
  /** Undefined: the URL names no cluster. */
  readonly cluster: string | undefined;
  /** Undefined: the URL is not valid. */
  readonly action: Action | undefined;
  /** The user as the credential names it. Undefined: the gateway has not authenticated it. */
  readonly user: string | undefined;
  readonly source: SubjectSource | undefined;
  /** The user as which the managed cluster treats the request, if it is another. */
  readonly impersonatedUser: string | undefined;
  /** The client's address. */
  readonly address: string;
  /** The status code of the answer. 0: the client left before it. */
  readonly code: number;
  /** The gateway's own answer was this; undefined: the server has answered. */
  readonly failure: { readonly reason: StatusReason; readonly hop: Hop } | undefined;
  /** Whether the client received the whole answer. */
  readonly isComplete: boolean;
  readonly isLongRunning: boolean;
  /** Bytes of the answer's body, or of an upgraded connection to the client. */
  readonly sentBytes: number;
  /** From the head of the request to the end of the answer, in milliseconds. */
  readonly durationMs: number;
}

/** Receives each request once, when it has ended. It must not throw. */
export type AuditHook = (event: AuditEvent) => void;
