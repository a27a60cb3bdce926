import { TunnelError } from './errors.ts';

/**
 * A TCP connection. `host` is a name or address as the acceptor's network knows it, or the
 * cluster's own name.
 */
export interface TcpTarget {
  readonly kind: 'tcp';
  readonly host: string;
  readonly port: number;
}

/** The server in the managed cluster that answers a request. */
export type HttpServer =
  | { readonly kind: 'kube-apiserver' }
  | {
      readonly kind: 'service';
      readonly scheme: 'http' | 'https';
      readonly namespace: string;
      readonly name: string;
      /** A number, or the name of one of the Service's ports. */
      readonly port: string;
    };

/**
 * The credentials of a request. `caller`: those in its headers. `agent`: the agent replaces
 * Authorization by its own token. It does this for impersonated users and token reviews, never for
 * a request as itself, and only for gateways.
 */
export type HttpCredentials = 'caller' | 'agent';

/**
 * An HTTP request, which the acceptor makes. The bytes of the stream are records in both directions
 * (docs/protocol.md, "HTTP exchanges"). The acceptor accepts the stream when it has a connection to
 * the server, before it sends the request, so until then another acceptor can be asked.
 */
export interface HttpTarget {
  readonly kind: 'http';
  readonly server: HttpServer;
  readonly credentials: HttpCredentials;
  /** Method, path and header fields, as `encodeRequestHead` writes them. */
  readonly head: Uint8Array;
  /** Whether a body follows. Without one, the acceptor does not wait for the FIN. */
  readonly hasBody: boolean;
}

/**
 * The destination of a stream. An acceptor refuses a kind that it does not know with
 * `unsupported_target`.
 */
export type Target = TcpTarget | HttpTarget;

/** Names a target in messages and tables: `host:port`, or the server of a request. */
export function targetName(target: Target): string {
  if (target.kind === 'tcp') return `${target.host}:${target.port}`;
  const { server } = target;
  if (server.kind === 'kube-apiserver') return 'http kube-apiserver';
  return `${server.scheme} ${server.namespace}/${server.name}:${server.port}`;
}

/** The authenticated person or program for which a stream is opened, within `callerLimits`. */
export interface Caller {
  readonly user: string;
  readonly groups?: readonly string[] | undefined;
}

/**
 * The part of a session that a stream may use while streams of several groups have bytes to send.
 * The opener chooses the numbers of its groups, for example one for each of its clients.
 */
export interface StreamShare {
  /** 1 to `shareLimits.maxGroup`. */
  readonly group: number;
  /** 1 to `shareLimits.maxWeight`. A group of weight 2 sends twice as much as one of weight 1. */
  readonly weight: number;
}

export const shareLimits = { maxGroup: 0xffff_ffff, maxWeight: 100 } as const;

/** The end that sends OPEN, or the end that receives it. */
export type StreamRole = 'opener' | 'acceptor';

/** What an opener asks of an acceptor. */
export interface StreamRequest {
  readonly target: Target;
  /** How long the acceptor may take to connect, in milliseconds; 0 leaves it to the acceptor. */
  readonly timeoutMs: number;
  /** Undefined: the opener does not know, or is older than version 1.2. */
  readonly caller?: Caller | undefined;
  /** The trace that the stream belongs to: a W3C `traceparent`, which `isTraceparent` accepts. */
  readonly trace?: string | undefined;
  /** Undefined: the stream shares with all streams without a share. */
  readonly share?: StreamShare | undefined;
  /** The acceptor does not wait for the opener's FIN; see `mayWait` of `SendScheduler`. OPEN does not have it. */
  readonly isPatient?: boolean | undefined;
}

/** A request for a TCP connection. */
export interface TcpRequest extends StreamRequest {
  readonly target: TcpTarget;
}

/** A request for an HTTP exchange. */
export interface HttpRequest extends StreamRequest {
  readonly target: HttpTarget;
}

/** Limits on a caller. An acceptor keeps one for each stream, so they bound its memory. */
export const callerLimits = {
  /** Characters of `user`, and of each group. */
  maxNameLength: 512,
  maxGroups: 128,
  /** Characters of `user` and all groups together. */
  maxTotalLength: 4096,
} as const;

/** Returns what is wrong with a caller; undefined for a valid one. */
export function callerProblem({ user, groups = [] }: Caller): string | undefined {
  const { maxNameLength, maxGroups, maxTotalLength } = callerLimits;
  if (groups.length > maxGroups) {
    return `has a caller with ${groups.length} groups, at most ${maxGroups} are allowed`;
  }
  let totalLength = 0;
  for (const name of [user, ...groups]) {
    if (name.length === 0 || name.length > maxNameLength) {
      return `needs the names of a caller as text of 1 to ${maxNameLength} characters`;
    }
    totalLength += name.length;
  }
  if (totalLength <= maxTotalLength) return undefined;
  return `has a caller of ${totalLength} characters, at most ${maxTotalLength} are allowed`;
}

/**
 * How long the head of a request may be, in bytes. Together with a caller, OPEN then remains within
 * `TunnelLimits.maxControlBytes`.
 */
export const maxRequestHeadBytes = 48 * 1024;

function headProblem(target: Target): string | undefined {
  if (target.kind !== 'http' || target.head.length <= maxRequestHeadBytes) return undefined;
  return `has a head of ${target.head.length} bytes, at most ${maxRequestHeadBytes} are allowed`;
}

const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * Whether a text is a valid `traceparent` (W3C Trace Context, section 3.2). Further
 * fields, which a later version of that header may have, are not accepted.
 */
export function isTraceparent(text: string): boolean {
  return traceparent.test(text);
}

/**
 * Returns the error that ends a stream before OPEN is sent; undefined for a request that can be
 * sent.
 */
export function requestProblem({ caller, target }: StreamRequest): TunnelError | undefined {
  const problem = headProblem(target) ?? (caller === undefined ? undefined : callerProblem(caller));
  return problem === undefined ? undefined : new TunnelError('dial_failed', `OPEN ${problem}`);
}

/** Drops an invalid trace. */
export function sendableRequest(request: StreamRequest): StreamRequest {
  const { trace } = request;
  return trace === undefined || isTraceparent(trace) ? request : { ...request, trace: undefined };
}
