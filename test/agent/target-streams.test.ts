import { expect, it } from 'vitest';
import { DestinationPolicy } from '../../src/agent/destination-policy.ts';
import { TargetStreams } from '../../src/agent/target-streams.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';

const caller = { user: 'alice', groups: ['developers'] };
const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

it.each([
  ['that is allowed', '127.0.0.1', 'refused'],
  ['that is not allowed', 'db.internal', 'forbidden_target'],
])('The agent logs caller and trace of a dial to a target %s', async (_, host, code) => {
  const log = new RecordingLogger();
  const policy = new DestinationPolicy({
    cluster: 'c1',
    clusterAlias: 'alias',
    kubeApiserver: undefined,
    allow: ['127.0.0.1:1'],
  });
  const targets = new TargetStreams({ policy, dialTimeoutMs: 5_000, clock: systemClock, log });
  const ended = Promise.withResolvers<TunnelError>();
  const stream = { reset: ended.resolve } as unknown as Stream;
  const target = { kind: 'tcp', host, port: 1 } as const;
  targets.accept({ target, timeoutMs: 0, caller, trace }, stream);
  expect((await ended.promise).code).toBe(code);
  const dialed = log.lines.find(({ event }) => event === 'target dialed');
  expect(dialed?.fields).toMatchObject({ host, port: 1, code, caller: 'alice', trace });
});
