import { decodeControlMap, malformed, type ControlMap } from './control-map.ts';
import { TunnelError } from './errors.ts';
import { FrameType } from './frame.ts';
import { encodeMessage } from './message.ts';
import { maxU32, nameOf, wholeOf } from './message-fields.ts';
import {
  callerProblem,
  isTraceparent,
  shareLimits,
  type Caller,
  type HttpServer,
  type HttpTarget,
  type StreamRequest,
  type StreamShare,
  type Target,
} from './stream-request.ts';

/** OPEN, dialer to agent. */
export interface Open extends StreamRequest {
  /** How far the agent may send at once, in bytes. */
  readonly window: number;
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

/**
 * Decodes OPEN.
 *
 * @throws TunnelError `unsupported_target` for a kind of target that this version does not know;
 *   `protocol_error` for a malformed payload
 */
export function decodeOpen(payload: Uint8Array): Open {
  const type = FrameType.open;
  const fields = decodeControlMap(type, payload);
  return {
    target: targetOf(fields),
    window: wholeOf(type, fields, 'window', maxU32),
    timeoutMs: wholeOf(type, fields, 'timeoutMs', maxU32),
    ...knowsStop(fields),
    ...callerOf(fields),
    ...traceOf(fields),
    ...shareOf(fields),
  };
}

export function encodeOpen(open: Open): Uint8Array {
  const { target, window, timeoutMs, stop, caller, trace, share } = open;
  return encodeMessage({
    ...(target.kind === 'http' ? httpFields(target) : target),
    window,
    timeoutMs,
    ...(stop === undefined ? {} : { stop }),
    ...(caller === undefined ? {} : { caller: caller.user }),
    ...(caller?.groups === undefined ? {} : { callerGroups: caller.groups }),
    ...(trace === undefined ? {} : { trace }),
    ...share,
  });
}

export function decodeOpened(payload: Uint8Array): Opened {
  const type = FrameType.opened;
  const fields = decodeControlMap(type, payload);
  return { window: wholeOf(type, fields, 'window', maxU32), ...knowsStop(fields) };
}

function targetOf(fields: ControlMap): Target {
  const type = FrameType.open;
  const kind = nameOf(type, fields, 'kind', 64);
  switch (kind) {
    case 'tcp':
      return {
        kind,
        host: nameOf(type, fields, 'host', 1024),
        port: wholeOf(type, fields, 'port', 65_535),
      };
    case 'http':
      return httpTargetOf(fields);
    default: {
      const sentence = `this end does not support targets of kind "${kind}", it may be older than the dialer`;
      throw new TunnelError('unsupported_target', sentence);
    }
  }
}

/** Flat fields, because no message needs a decoder for nested maps. */
function httpFields({ kind, server, credentials, head, hasBody }: HttpTarget): object {
  const common = { kind, server: server.kind, credentials, head, hasBody };
  if (server.kind === 'kube-apiserver') return common;
  const { scheme, namespace, name, port } = server;
  return { ...common, scheme, namespace, service: name, servicePort: port };
}

function httpTargetOf(fields: ControlMap): HttpTarget {
  const type = FrameType.open;
  const credentials = nameOf(type, fields, 'credentials', 64);
  const head = fields.get('head');
  if (!(head instanceof Uint8Array)) throw malformed(type, 'needs "head" as binary data');
  return {
    kind: 'http',
    server: httpServerOf(fields),
    credentials: oneOf(credentials, ['caller', 'agent'], 'credentials'),
    // The payload is borrowed.
    head: new Uint8Array(head),
    hasBody: fields.get('hasBody') === true,
  };
}

function httpServerOf(fields: ControlMap): HttpServer {
  const type = FrameType.open;
  const kind = oneOf(nameOf(type, fields, 'server', 64), ['kube-apiserver', 'service'], 'server');
  if (kind === 'kube-apiserver') return { kind };
  return {
    kind,
    scheme: oneOf(nameOf(type, fields, 'scheme', 64), ['http', 'https'], 'scheme'),
    namespace: nameOf(type, fields, 'namespace', 63),
    name: nameOf(type, fields, 'service', 63),
    port: nameOf(type, fields, 'servicePort', 15),
  };
}

/**
 * A value that this version does not know is refused like an unknown kind of target, because a
 * later version may have it.
 */
function oneOf<T extends string>(value: string, known: readonly T[], field: string): T {
  const found = known.find((item) => item === value);
  if (found !== undefined) return found;
  const sentence = `this end does not support "${value}" as "${field}" of an HTTP request, it may be older than the dialer`;
  throw new TunnelError('unsupported_target', sentence);
}

/** The caller is two flat fields, because no message needs a decoder for nested maps. */
function callerOf(fields: ControlMap): { caller?: Caller } {
  const type = FrameType.open;
  const user = fields.get('caller') ?? undefined;
  if (user === undefined) return {};
  if (typeof user !== 'string') throw malformed(type, 'needs "caller" as text');
  const groups = fields.get('callerGroups') ?? undefined;
  if (groups !== undefined && !isTextList(groups)) {
    throw malformed(type, 'needs "callerGroups" as a list of texts');
  }
  const caller = groups === undefined ? { user } : { user, groups };
  const problem = callerProblem(caller);
  if (problem !== undefined) throw malformed(type, problem);
  return { caller };
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/**
 * An invalid `traceparent` starts a new trace, as W3C Trace Context says (section 3.2). It must not
 * fail the dial.
 */
function traceOf(fields: ControlMap): { trace?: string } {
  const trace = fields.get('trace');
  return typeof trace === 'string' && isTraceparent(trace) ? { trace } : {};
}

function shareOf(fields: ControlMap): { share?: StreamShare } {
  const type = FrameType.open;
  if ((fields.get('group') ?? undefined) === undefined) return {};
  const group = wholeOf(type, fields, 'group', shareLimits.maxGroup);
  const weight = wholeOf(type, fields, 'weight', shareLimits.maxWeight);
  if (group === 0 || weight === 0) throw malformed(type, 'has a group or a weight of 0');
  return { share: { group, weight } };
}

function knowsStop(fields: ControlMap): { stop?: true } {
  return fields.get('stop') === true ? { stop: true } : {};
}
