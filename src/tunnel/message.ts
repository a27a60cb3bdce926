import { Packr } from 'msgpackr';
import { decodeControlMap, malformed, type ControlMap } from './control-map.ts';
import { TunnelError, parseErrorCode, type TunnelErrorCode } from './errors.ts';
import { FrameType } from './frame.ts';
import { maxU32, nameOf, textOf, wholeOf } from './message-fields.ts';

// The package encodes only, because `decodeControlMap` reads what peers send. Records would need
// state that both ends share.
const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
});

/** Characters of a zone's name. */
export const maxZoneLength = 64;

/** Names in `Hello.excludedAgents`. */
export const maxExcludedAgents = 64;

/** Characters of an agent id and an instance with `@` between them. */
const maxProcessNameLength = 321;

export const protocolVersion = { major: 1, minor: 4 } as const;

/**
 * HELLO, the first frame on a link, from the end that dialed. Unknown fields are ignored, so minors
 * may add some.
 */
export interface Hello {
  readonly major: number;
  readonly minor: number;
  /** The program and its version, for logs only. */
  readonly software: string;
  /**
   * A dialer's: the name of its session, 32 random hexadecimal digits. It is half of what resuming
   * takes.
   */
  readonly session?: string;
  /** A dialer's: the session exists already, with this agent, and continues. */
  readonly resume?: string;
  /** Beside `resume`: the agent's process that has the session, as WELCOME named it. */
  readonly instance?: string;
  /** The zone of this end; undefined: it does not tell, or is older than version 1.3. */
  readonly zone?: string;
  /**
   * A dialer's, for a new session: the processes of agents that the session must not reach, as
   * `processName` writes them, because the dialer has sessions with them.
   */
  readonly excludedAgents?: readonly string[];
  /**
   * An agent's: the address of its end of the connection, `host:port`. If the broker sees the same
   * address, no middlebox ends connections on the way.
   */
  readonly source?: string;
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
  /**
   * To a dialer: the agent's process that the session reached; undefined: the agent does not tell.
   */
  readonly instance?: string;
  /**
   * How large a stream's window may grow through this broker, in bytes; undefined: the ends decide.
   */
  readonly maxWindow?: number;
  /** To a dialer: the zone of the agent that the session reached; undefined: it does not tell. */
  readonly zone?: string;
  /**
   * To a dialer: how many other agents of the cluster this replica knows; undefined: the broker is
   * older than version 1.3, and does not know `Hello.excludedAgents`.
   */
  readonly otherAgents?: number;
}

/** ATTACH, broker to agent: a dialer's session appears. */
export interface Attach {
  /** The name of the dialer, as the broker authenticated it. The agent's logs name it. */
  readonly dialer: string;
  /** The session's name, from the dialer's HELLO. */
  readonly session: string;
  /** The agent has the session already, and it continues here. */
  readonly resume: boolean;
  /** The dialer is a gateway, which may ask for the agent's credentials (version 1.4). */
  readonly gateway?: true;
}

/** REFUSED and RESET, and DETACH after a failure. */
export interface Failure {
  readonly code: TunnelErrorCode;
  readonly message: string;
}

/**
 * GOAWAY, to the other end of a link: connect elsewhere, because this link closes at the deadline.
 */
export interface GoAway {
  /** Milliseconds from now until the link closes. */
  readonly deadlineMs: number;
  /** Milliseconds to wait before the next attempt. */
  readonly retryAfterMs: number;
  /**
   * `broker`: the broker leaves, so sessions move. `agent`: the agent leaves, so sessions end where
   * they are.
   */
  readonly scope: 'broker' | 'agent';
}

/** The payload of a control frame. */
export function encodeMessage(message: object): Uint8Array {
  return packr.pack(message);
}

export function decodeHello(payload: Uint8Array): Hello {
  const fields = decodeControlMap(FrameType.hello, payload);
  return {
    major: ourMajor(FrameType.hello, fields),
    minor: wholeOf(FrameType.hello, fields, 'minor', maxU32),
    software: textOf(FrameType.hello, fields, 'software', 128),
    ...(fields.get('session') === undefined
      ? {}
      : { session: sessionName(FrameType.hello, fields) }),
    ...(fields.get('resume') === undefined
      ? {}
      : { resume: nameOf(FrameType.hello, fields, 'resume', 256) }),
    ...instanceOf(FrameType.hello, fields),
    ...zoneOf(FrameType.hello, fields),
    ...excludedAgentsOf(fields),
    ...(fields.get('source') === undefined
      ? {}
      : { source: textOf(FrameType.hello, fields, 'source', 256) }),
  };
}

/** @throws TunnelError `version_unsupported` the other end speaks another major version */
function ourMajor(type: FrameType, fields: ControlMap): number {
  const major = wholeOf(type, fields, 'major', maxU32);
  if (major === protocolVersion.major) return major;
  throw new TunnelError(
    'version_unsupported',
    `the other end speaks culvert ${major}, this one ${protocolVersion.major}: update the older of the two`,
  );
}

function sessionName(type: FrameType, fields: ControlMap): string {
  const name = textOf(type, fields, 'session', 64);
  if (!/^[0-9a-f]{32}$/.test(name))
    throw malformed(type, 'needs "session" as 32 hexadecimal digits');
  return name;
}

function instanceOf(type: FrameType, fields: ControlMap): { instance?: string } {
  if (fields.get('instance') === undefined) return {};
  return { instance: nameOf(type, fields, 'instance', 64) };
}

function zoneOf(type: FrameType, fields: ControlMap): { zone?: string } {
  if (fields.get('zone') === undefined) return {};
  return { zone: nameOf(type, fields, 'zone', maxZoneLength) };
}

function excludedAgentsOf(fields: ControlMap): { excludedAgents?: readonly string[] } {
  const names = fields.get('excludedAgents');
  if (names === undefined) return {};
  const isName = (name: unknown): name is string =>
    typeof name === 'string' && name.length > 0 && name.length <= maxProcessNameLength;
  if (Array.isArray(names) && names.length <= maxExcludedAgents && names.every(isName)) {
    return { excludedAgents: names };
  }
  const sentence = `needs "excludedAgents" as up to ${maxExcludedAgents} texts of 1 to ${maxProcessNameLength} characters`;
  throw malformed(FrameType.hello, sentence);
}

export function decodeWelcome(payload: Uint8Array): Welcome {
  const type = FrameType.welcome;
  const fields = decodeControlMap(type, payload);
  return {
    major: ourMajor(type, fields),
    minor: wholeOf(type, fields, 'minor', maxU32),
    replica: textOf(type, fields, 'replica', 256),
    session: wholeOf(type, fields, 'session', maxU32),
    agent: textOf(type, fields, 'agent', 256),
    ...instanceOf(type, fields),
    ...(fields.get('maxWindow') === undefined
      ? {}
      : { maxWindow: wholeOf(type, fields, 'maxWindow', maxU32) }),
    ...zoneOf(type, fields),
    ...(fields.get('otherAgents') === undefined
      ? {}
      : { otherAgents: wholeOf(type, fields, 'otherAgents', maxU32) }),
  };
}

export function decodeAttach(payload: Uint8Array): Attach {
  const fields = decodeControlMap(FrameType.attach, payload);
  return {
    dialer: textOf(FrameType.attach, fields, 'dialer', 256),
    session: sessionName(FrameType.attach, fields),
    resume: fields.get('resume') === true,
    ...(fields.get('gateway') === true ? { gateway: true } : {}),
  };
}

export function decodeFailure(type: FrameType, payload: Uint8Array): Failure {
  const fields = decodeControlMap(type, payload);
  return {
    code: parseErrorCode(fields.get('code'), 'internal'),
    message: textOf(type, fields, 'message', 2048),
  };
}

export function encodeFailure(error: TunnelError): Uint8Array {
  return encodeMessage({ code: error.code, message: error.message.slice(0, 2048) });
}

export function decodeGoAway(payload: Uint8Array): GoAway {
  const type = FrameType.goaway;
  const fields = decodeControlMap(type, payload);
  return {
    deadlineMs: wholeOf(type, fields, 'deadlineMs', maxU32),
    retryAfterMs: wholeOf(type, fields, 'retryAfterMs', maxU32),
    scope: fields.get('scope') === 'agent' ? 'agent' : 'broker',
  };
}
