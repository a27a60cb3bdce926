import { Packr } from 'msgpackr';
import { decodeControlMap, malformed, type ControlMap } from './control-map.ts';
import { TunnelError, parseErrorCode, type TunnelErrorCode } from './errors.ts';
import { FrameType } from './frame.ts';
import type { Target } from './stream-handler.ts';

// The package encodes only; `decodeControlMap` reads what peers send. No records: they need state that both ends share. Maps are
// as small as they can be.
const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
});

export const protocolVersion = { major: 1, minor: 1 } as const;

/** HELLO, the first frame on a link, from the end that dialed. Unknown fields are ignored, so minors may add some. */
export interface Hello {
  readonly major: number;
  readonly minor: number;
  /** The program and its version, for logs only. */
  readonly software: string;
  /** A dialer's: the name of its session, 32 random hexadecimal digits; who knows it may resume the session. */
  readonly session?: string;
  /** A dialer's: the session exists already, with this agent, and shall go on. */
  readonly resume?: string;
  /** Beside `resume`: the agent's process that has the session, as WELCOME named it. */
  readonly instance?: string;
}

/** WELCOME, the broker's answer to HELLO. */
export interface Welcome {
  readonly major: number;
  readonly minor: number;
  readonly replica: string;
  /** To a dialer: the number of its session on this link. To an agent: 0. */
  readonly session: number;
  /** To a dialer: the agent that the session reached. */
  readonly agent: string;
  /** To a dialer: the agent's process that the session reached; undefined: an agent that does not tell. */
  readonly instance?: string;
  /** How large a stream's window may grow through this broker, in bytes; where it is not said, the ends decide. */
  readonly maxWindow?: number;
}

/** ATTACH, broker to agent: a dialer's session appears. */
export interface Attach {
  /** Who the broker authenticated as the dialer; the agent's logs name it. */
  readonly dialer: string;
  /** The session's name, from the dialer's HELLO. */
  readonly session: string;
  /** The agent has the session already, and it shall go on here. */
  readonly resume: boolean;
}

/** OPEN, dialer to agent. */
export interface Open {
  readonly target: Target;
  /** How far the agent may send at once, in bytes. */
  readonly window: number;
  /** How long the agent may take to connect, in milliseconds; 0 leaves it to the agent. */
  readonly timeoutMs: number;
  /** The dialer knows what a CREDIT with a limit of 0 means (version 1.1). */
  readonly stop?: true;
}

/** OPENED, agent to dialer. */
export interface Opened {
  /** How far the dialer may send at once, in bytes. */
  readonly window: number;
  /** The agent knows what a CREDIT with a limit of 0 means (version 1.1). */
  readonly stop?: true;
}

/** REFUSED, RESET and GOAWAY, DETACH where something went wrong. */
export interface Failure {
  readonly code: TunnelErrorCode;
  readonly message: string;
}

/** GOAWAY, broker to the other end: attach elsewhere, this link closes at the deadline. */
export interface GoAway {
  /** Milliseconds from now until the link closes. */
  readonly deadlineMs: number;
  /** Milliseconds to wait before the next attempt. */
  readonly retryAfterMs: number;
  /** Who goes away: the broker, then sessions move; or the agent, then they end where they are. */
  readonly scope: 'broker' | 'agent';
}

/** SYNC, both ends of a session on a new link: what each has. */
export interface Sync {
  readonly streams: readonly SyncStream[];
  /** Streams that ended badly, whose RESET may have been lost. */
  readonly failures: readonly (Failure & { readonly stream: number })[];
  /** No more SYNC follows. */
  readonly last: boolean;
  /** The agent has the session on another link by now: this one is left, and nothing else in the message counts. */
  readonly moved: boolean;
}

/** A failure in SYNC has a message of at most this many characters. */
export const maxSyncMessageLength = 128;

export interface SyncStream {
  readonly stream: number;
  /** Bytes received in order, a FIN counting as one. */
  readonly received: number;
  /** How far the other end may send. */
  readonly limit: number;
}

/** The payload of a control frame. */
export function encodeMessage(message: object): Uint8Array {
  return packr.pack(message);
}

/** A text that is only shown: cut where it is too long. */
function text(type: FrameType, fields: ControlMap, name: string, maxLength: number): string {
  const value = fields.get(name);
  if (typeof value !== 'string') throw malformed(type, `has no text "${name}"`);
  return cut(value, maxLength);
}

function whole(type: FrameType, fields: ControlMap, name: string, max: number): number {
  const value = fields.get(name);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw malformed(type, `needs "${name}" as a whole number up to ${max}`);
  }
  return value;
}

/** A text that is acted upon: cut short it would name something else, and an empty host means this machine to some resolvers. */
function name(type: FrameType, fields: ControlMap, field: string, maxLength: number): string {
  const value = fields.get(field);
  if (typeof value !== 'string' || value.length === 0 || value.length > maxLength) {
    throw malformed(type, `needs "${field}" as text of 1 to ${maxLength} characters`);
  }
  return value;
}

const maxU32 = 0xffff_ffff;

export function decodeHello(payload: Uint8Array): Hello {
  const fields = decodeControlMap(FrameType.hello, payload);
  return {
    major: ourMajor(FrameType.hello, fields),
    minor: whole(FrameType.hello, fields, 'minor', maxU32),
    software: text(FrameType.hello, fields, 'software', 128),
    ...(fields.get('session') === undefined
      ? {}
      : { session: sessionName(FrameType.hello, fields) }),
    ...(fields.get('resume') === undefined
      ? {}
      : { resume: name(FrameType.hello, fields, 'resume', 256) }),
    ...instanceOf(FrameType.hello, fields),
  };
}

/** @throws TunnelError `version_unsupported` the other end speaks another major version */
function ourMajor(type: FrameType, fields: ControlMap): number {
  const major = whole(type, fields, 'major', maxU32);
  if (major === protocolVersion.major) return major;
  throw new TunnelError(
    'version_unsupported',
    `the other end speaks culvert ${major}, this one ${protocolVersion.major}: update the older of the two`,
  );
}

function sessionName(type: FrameType, fields: ControlMap): string {
  const name = text(type, fields, 'session', 64);
  if (!/^[0-9a-f]{32}$/.test(name))
    throw malformed(type, 'needs "session" as 32 hexadecimal digits');
  return name;
}

function instanceOf(type: FrameType, fields: ControlMap): { instance?: string } {
  if (fields.get('instance') === undefined) return {};
  return { instance: name(type, fields, 'instance', 64) };
}

export function decodeWelcome(payload: Uint8Array): Welcome {
  const type = FrameType.welcome;
  const fields = decodeControlMap(type, payload);
  return {
    major: ourMajor(type, fields),
    minor: whole(type, fields, 'minor', maxU32),
    replica: text(type, fields, 'replica', 256),
    session: whole(type, fields, 'session', maxU32),
    agent: text(type, fields, 'agent', 256),
    ...instanceOf(type, fields),
    ...(fields.get('maxWindow') === undefined
      ? {}
      : { maxWindow: whole(type, fields, 'maxWindow', maxU32) }),
  };
}

export function decodeAttach(payload: Uint8Array): Attach {
  const fields = decodeControlMap(FrameType.attach, payload);
  return {
    dialer: text(FrameType.attach, fields, 'dialer', 256),
    session: sessionName(FrameType.attach, fields),
    resume: fields.get('resume') === true,
  };
}

export function decodeOpen(payload: Uint8Array): Open {
  const type = FrameType.open;
  const fields = decodeControlMap(type, payload);
  if (fields.get('kind') !== 'tcp')
    throw malformed(type, 'names a kind of target that is not "tcp"');
  return {
    target: {
      kind: 'tcp',
      host: name(type, fields, 'host', 1024),
      port: whole(type, fields, 'port', 65_535),
    },
    window: whole(type, fields, 'window', maxU32),
    timeoutMs: whole(type, fields, 'timeoutMs', maxU32),
    ...knowsStop(fields),
  };
}

export function encodeOpen({ target, ...rest }: Open): Uint8Array {
  return encodeMessage({ ...target, ...rest });
}

export function decodeOpened(payload: Uint8Array): Opened {
  const type = FrameType.opened;
  const fields = decodeControlMap(type, payload);
  return { window: whole(type, fields, 'window', maxU32), ...knowsStop(fields) };
}

function knowsStop(fields: ControlMap): { stop?: true } {
  return fields.get('stop') === true ? { stop: true } : {};
}

export function decodeFailure(type: FrameType, payload: Uint8Array): Failure {
  const fields = decodeControlMap(type, payload);
  return {
    code: parseErrorCode(fields.get('code'), 'internal'),
    message: text(type, fields, 'message', 2048),
  };
}

export function encodeFailure(error: TunnelError): Uint8Array {
  return encodeMessage({ code: error.code, message: error.message.slice(0, 2048) });
}

export function decodeGoAway(payload: Uint8Array): GoAway {
  const type = FrameType.goaway;
  const fields = decodeControlMap(type, payload);
  return {
    deadlineMs: whole(type, fields, 'deadlineMs', maxU32),
    retryAfterMs: whole(type, fields, 'retryAfterMs', maxU32),
    scope: fields.get('scope') === 'agent' ? 'agent' : 'broker',
  };
}

export function encodeSync(sync: Sync): Uint8Array {
  return encodeMessage({
    streams: sync.streams.map(({ stream, received, limit }) => [stream, received, limit]),
    failures: sync.failures.map(({ stream, code, message }) => [stream, code, message]),
    last: sync.last,
    ...(sync.moved ? { moved: true } : {}),
  });
}

export function decodeSync(payload: Uint8Array): Sync {
  const type = FrameType.sync;
  const fields = decodeControlMap(type, payload);
  const streams = fields.get('streams');
  const failures = fields.get('failures');
  if (!Array.isArray(streams) || !Array.isArray(failures)) throw malformed(type, 'has no lists');
  return {
    streams: streams.map((row: unknown) => {
      if (!Array.isArray(row) || !row.every(Number.isSafeInteger) || row.length < 3) {
        throw malformed(type, 'has a stream that is not three whole numbers');
      }
      const [stream, received, limit] = row as [number, number, number];
      return { stream, received, limit };
    }),
    failures: failures.map((row: unknown) => {
      if (!Array.isArray(row) || !Number.isSafeInteger(row[0]) || typeof row[2] !== 'string') {
        throw malformed(type, 'has a failure without number and sentence');
      }
      return {
        stream: row[0] as number,
        code: parseErrorCode(row[1], 'internal'),
        message: cut(row[2], maxSyncMessageLength),
      };
    }),
    last: fields.get('last') === true,
    moved: fields.get('moved') === true,
  };
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

/** The first characters of a text. A plain `slice` would keep the whole text in memory as long as the result is used. */
function cut(value: string, maxLength: number): string {
  if (value.length <= maxLength) return value;
  return utf8Decoder.decode(utf8Encoder.encode(value.slice(0, maxLength)));
}
