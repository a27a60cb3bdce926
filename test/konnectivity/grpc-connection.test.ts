import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';
import type { FrontHandler, FrontStream } from '../../src/konnectivity/front.ts';
import { GrpcConnection } from '../../src/konnectivity/grpc-connection.ts';
import {
  clientPreface,
  frame,
  frameFlags,
  frameTypes,
  headers,
  ping,
  reset,
  settings,
} from '../../testkit/http2/frames.ts';
import { frontConnectionOptions } from '../../testkit/http2/front-connection-options.ts';
import { collectGarbage } from '../../testkit/processes/collect-garbage.ts';

const noEvents: FrontHandler = { onData() {}, onSent() {}, onEnd() {}, onClose() {} };
const post = encodeHeaders([
  { name: ':method', value: 'POST' },
  { name: ':scheme', value: 'http' },
  { name: ':path', value: '/m' },
  { name: ':authority', value: 'a' },
  { name: 'content-type', value: 'application/grpc' },
]);

/** A connection on a socket that takes everything. `accept` gets its calls. */
function openConnection(accept: (stream: FrontStream) => FrontHandler): GrpcConnection {
  const socket = new Socket();
  socket.write = () => true;
  const methods = new Map([['/m', accept]]);
  return new GrpcConnection({ ...frontConnectionOptions, methods, socket, onReady: () => {} });
}

it('A client that pings and leaves in the same turn gets no write to its destroyed socket', async () => {
  const writes: unknown[] = [];
  const socket = new Socket();
  socket.write = (bytes: unknown) => writes.push(bytes) > 0;
  const connection = new GrpcConnection({
    ...frontConnectionOptions,
    socket,
    onReady: () => {},
  });
  connection.push(Buffer.concat([clientPreface, settings()]));
  await nextTurn();
  expect(writes).toHaveLength(1);
  connection.push(ping());
  connection.onSocketEnd();
  await nextTurn();
  await nextTurn();
  expect(socket.destroyed).toBe(true);
  expect(writes).toHaveLength(1);
});

it('A call that has ended keeps nothing for a client that never answers the PING', async () => {
  const answered: string[] = [];
  let collected: WeakRef<object> | undefined;
  const accept = (stream: FrontStream) => {
    const name = collected === undefined ? 'first' : 'later';
    const onAnswered = () => void answered.push(name);
    collected ??= new WeakRef(onAnswered);
    stream.roundTrip(onAnswered);
    return noEvents;
  };
  const connection = openConnection(accept);
  connection.push(Buffer.concat([clientPreface, settings()]));
  connection.push(Buffer.concat([headers(1, post), reset(1), headers(3, post)]));
  await nextTurn();
  collectGarbage();
  expect(collected?.deref()).toBeUndefined();
  const answer = frame(frameTypes.ping, frameFlags.ack, 0, Buffer.from('received'));
  connection.push(answer);
  // The PING was sent before the second call asked.
  expect(answered).toEqual([]);
  connection.push(answer);
  expect(answered).toEqual(['later']);
  connection.onSocketEnd();
});

it('A call keeps nothing of the answers that it has got', async () => {
  let call: FrontStream | undefined;
  const accept = (stream: FrontStream) => {
    call = stream;
    return noEvents;
  };
  const connection = openConnection(accept);
  connection.push(Buffer.concat([clientPreface, settings(), headers(1, post)]));
  let answers = 0;
  const ask = (): WeakRef<object> => {
    const onAnswered = () => void answers++;
    call!.roundTrip(onAnswered);
    return new WeakRef(onAnswered);
  };
  const asked = [ask(), ask()];
  const answer = frame(frameTypes.ping, frameFlags.ack, 0, Buffer.from('received'));
  connection.push(Buffer.concat([answer, answer]));
  expect(answers).toBe(2);
  await nextTurn();
  collectGarbage();
  expect(asked.map((each) => each.deref())).toEqual([undefined, undefined]);
  connection.onSocketEnd();
});
