import { spawn } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { podName } from '../../testkit/ground/http/managed-api.ts';
import type { Kubectl } from '../../testkit/ground/kubernetes/kubectl.ts';
import { startRedis, type Service } from '../../testkit/ground/services.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { Conversation } from './support/conversation.ts';
import { Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const programs = await planePrograms();

describe('Two replicas of the broker, each with a gateway, of which the one with the tunnels is killed', () => {
  let redis: Service;
  let plane: Plane;
  let kubectl: Kubectl;

  beforeEach(async () => {
    redis = await startRedis(programs.redis);
    plane = await Plane.start(programs, { clusters: ['cluster1'], redisPort: redis.port });
    kubectl = await plane.kubectl('cluster1', await plane.adminToken('cluster1'));
  });
  afterEach(async () => {
    await plane?.[Symbol.asyncDispose]();
    await redis?.[Symbol.asyncDispose]();
  });

  it('keep an exec session and a watch, which misses no event', async () => {
    const { command, args } = kubectl.commandLine(['exec', '-i', podName, '--', 'cat']);
    await using session = new Conversation(
      spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] }),
    );
    expect(await session.ask('before')).toBe('before');
    await kubectl.run(['create', 'configmap', 'watched', '--from-literal=round=0']);
    const columns = ['-o', 'custom-columns=ROUND:.data.round', '--no-headers'];
    const watch = kubectl.commandLine(['get', 'configmap', 'watched', '-w', ...columns]);
    await using watching = startProgram({ ...watch, name: 'kubectl get -w' });
    await watching.waitForLine(/^0$/);
    const { server } = plane.api('cluster1');
    const patch = (round: number) =>
      server.kubectl(['patch', 'configmap', 'watched', `-p={"data":{"round":"${round}"}}`]);
    await patch(1);
    await watching.waitForLine(/^1$/);

    const killed = plane.killRelay();
    await patch(2);
    expect(await session.ask('after')).toBe('after');
    await killed;
    await patch(3);
    await watching.waitForLine(/^3$/);
    expect(watching.stdout.trim().split('\n')).toEqual(['0', '1', '2', '3']);
    expect(await session.end()).toBe(0);
    expect(await kubectl.run(['get', 'configmap', 'watched', '-o', 'name'])).toContain('watched');
  });
});
