import { describe, expect, it } from 'vitest';
import { TunnelError, parseErrorCode } from '../../src/tunnel/errors.ts';
import { FrameDecoder } from '../../src/tunnel/frame-decoder.ts';
import { FrameType, encodeFrame, frameName } from '../../src/tunnel/frame.ts';
import * as linkMessages from '../../src/tunnel/message.ts';
import * as openMessages from '../../src/tunnel/open-message.ts';
import type { StreamRequest, Target } from '../../src/tunnel/stream-request.ts';
import * as syncMessages from '../../src/tunnel/sync-message.ts';
import { readOffset } from '../../src/tunnel/offset.ts';
import { offsets } from '../../testkit/stream/scripted-session.ts';
import { type Vector, vectors } from './vectors.ts';

const message = { ...linkMessages, ...openMessages, ...syncMessages };

type Fields = Vector['fields'];

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const typeOf = (name: string): FrameType => FrameType[name.toLowerCase() as keyof typeof FrameType];

function originOf({
  caller,
  callerGroups,
  trace,
}: Fields): Pick<StreamRequest, 'caller' | 'trace'> {
  if (typeof caller !== 'string') return {};
  const groups = callerGroups as readonly string[];
  return { caller: { user: caller, groups }, trace: String(trace) };
}

function targetOf(fields: Fields): Target {
  const text = (name: string): string => String(fields[name]);
  if (fields['kind'] === 'tcp') {
    return { kind: 'tcp', host: text('host'), port: Number(fields['port']) };
  }
  return {
    kind: 'http',
    server:
      fields['server'] === 'kube-apiserver'
        ? { kind: 'kube-apiserver' }
        : {
            kind: 'service',
            scheme: text('scheme') as 'https',
            namespace: text('namespace'),
            name: text('service'),
            port: text('servicePort'),
          },
    credentials: text('credentials') as 'caller',
    head: bytesOf(text('head')),
    hasBody: fields['hasBody'] === true,
  };
}

/** The fields of OPEN for a target. */
function fieldsOf(target: Target): object {
  if (target.kind === 'tcp') return target;
  const { server, head, ...rest } = target;
  const common = { ...rest, server: server.kind, head: hexOf(head) };
  if (server.kind === 'kube-apiserver') return common;
  const { scheme, namespace, name, port } = server;
  return { ...common, scheme, namespace, service: name, servicePort: port };
}

function encodePayload(type: FrameType, fields: Fields): Uint8Array {
  switch (type) {
    case FrameType.ping:
    case FrameType.pong:
    case FrameType.data:
      return bytesOf(String(fields['bytes']));
    case FrameType.fin:
      return offsets(Number(fields['offset']));
    case FrameType.credit:
      return offsets(Number(fields['received']), Number(fields['limit']));
    case FrameType.open: {
      return message.encodeOpen({
        target: targetOf(fields),
        window: Number(fields['window']),
        timeoutMs: Number(fields['timeoutMs']),
        ...(fields['stop'] === true ? { stop: true } : {}),
        ...originOf(fields),
      });
    }
    case FrameType.refused:
    case FrameType.reset:
    case FrameType.detach: {
      const code = parseErrorCode(fields['code'], 'internal');
      return message.encodeFailure(new TunnelError(code, String(fields['message'])));
    }
    case FrameType.sync:
      return message.encodeSync(fields as unknown as syncMessages.Sync);
    default:
      return message.encodeMessage(fields);
  }
}

function decodePayload(type: FrameType, payload: Uint8Array): Fields | object {
  switch (type) {
    case FrameType.hello:
      return message.decodeHello(payload);
    case FrameType.welcome:
      return message.decodeWelcome(payload);
    case FrameType.attach:
      return message.decodeAttach(payload);
    case FrameType.goaway:
      return message.decodeGoAway(payload);
    case FrameType.sync:
      return message.decodeSync(payload);
    case FrameType.open: {
      const { target, caller, ...rest } = message.decodeOpen(payload);
      const flat = { ...fieldsOf(target), ...rest };
      if (caller === undefined) return flat;
      return { ...flat, caller: caller.user, callerGroups: caller.groups };
    }
    case FrameType.opened:
      return message.decodeOpened(payload);
    case FrameType.refused:
    case FrameType.reset:
    case FrameType.detach:
      return message.decodeFailure(type, payload);
    case FrameType.fin:
      return { offset: readOffset(payload, 0) };
    case FrameType.credit:
      return { received: readOffset(payload, 0), limit: readOffset(payload, 8) };
    default:
      return { bytes: hexOf(payload) };
  }
}

/** The frames that a receiver gets if the bytes arrive in these pieces. DATA is joined. */
function receive(pieces: readonly Uint8Array[]): unknown[] {
  const told: unknown[] = [];
  const data: Uint8Array[] = [];
  const decoder = new FrameDecoder({
    onData(session, stream, bytes) {
      if (data.push(bytes.slice()) === 1) told.push({ type: FrameType.data, session, stream });
    },
    onFrame(type, session, stream, payload) {
      told.push({ type, session, stream, fields: decodePayload(type, payload) });
    },
  });
  for (const [at, piece] of pieces.entries()) decoder.push(piece, at === pieces.length - 1);
  return data.length === 0 ? told : [...told, { bytes: hexOf(Buffer.concat(data)) }];
}

function expected({ type, session, stream, fields }: Vector): unknown[] {
  if (type !== 'DATA') return [{ type: typeOf(type), session, stream, fields }];
  // The decoder reports nothing for a DATA frame without bytes.
  return fields['bytes'] === '' ? [] : [{ type: FrameType.data, session, stream }, fields];
}

describe('vectors.json', () => {
  it('The test vectors have a row for every frame type', () => {
    const shown = new Set(vectors.map(({ type }) => type));
    expect([...shown].sort()).toEqual(Object.values(FrameType).map(frameName).sort());
  });
});

describe.each(vectors)('The frame "$name"', (vector) => {
  const frame = bytesOf(vector.hex);

  it('The frame of a test vector is encoded to these bytes', () => {
    const type = typeOf(vector.type);
    const payload = encodePayload(type, vector.fields);
    expect(hexOf(encodeFrame(type, vector.session, vector.stream, payload))).toBe(vector.hex);
  });

  it('The frame of a test vector is decoded to these fields', () => {
    expect(receive([frame])).toEqual(expected(vector));
  });

  it('The frame of a test vector is decoded the same when it is split at any offset', () => {
    for (let at = 0; at <= frame.length; at++) {
      expect(receive([frame.subarray(0, at), frame.subarray(at)])).toEqual(expected(vector));
    }
  });

  it('The frame of a test vector is decoded the same byte by byte', () => {
    expect(receive(Array.from(frame, (byte) => Uint8Array.of(byte)))).toEqual(expected(vector));
  });
});
