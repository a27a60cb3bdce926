import { setTimeout as sleep } from 'node:timers/promises';
import type { FleetProgram } from '../world/fleet.ts';
import { Redis } from 'ioredis';
import { abuse, isAbuse } from './abuse.ts';
import type { PlannedFault } from './schedule.ts';
import type { ChaosWorld } from './world.ts';

const drainLimitMs = 20_000;

/** The part that a fault hits, for the log and the table. */
export function victimOf(world: ChaosWorld, { kind, victim, other }: PlannedFault): string {
  if (kind === 'rolling-restart') return 'all brokers';
  if (kind === 'bridge-kill' || kind === 'abuse-client') return 'the bridge';
  if (kind.startsWith('broker') || isAbuse(kind)) return `broker ${victim}`;
  if (kind.startsWith('redis')) return 'redis';
  if (kind.startsWith('dialer')) return world.dialers[victim]!.name;
  const agent = world.agents[victim]!.id;
  return kind === 'both-silence' ? `${agent} and ${world.dialers[other]!.name}` : agent;
}

/** Injects one fault, waits until it is over, and repairs everything. */
export async function inflict(world: ChaosWorld, fault: PlannedFault): Promise<void> {
  const { kind, holdMs, direction } = fault;
  if (isAbuse(kind)) return abuse(world, fault, kind);
  switch (kind) {
    case 'broker-kill': {
      const broker = world.fleet.brokers[fault.victim]!;
      broker.program.kill('SIGKILL');
      await broker.program.exited;
      await sleep(holdMs);
      return broker.restart();
    }
    case 'broker-freeze': {
      const { program } = world.fleet.brokers[fault.victim]!;
      program.kill('SIGSTOP');
      await sleep(holdMs);
      return program.kill('SIGCONT');
    }
    case 'broker-drain':
      return drain(world.fleet.brokers[fault.victim]!);
    case 'rolling-restart':
      for (const broker of world.fleet.brokers) await drain(broker);
      return;
    case 'redis-kill':
      await world.redis.kill();
      await sleep(holdMs);
      return world.redis.restart();
    case 'redis-flush':
      return flush(world.redis.port);
    case 'redis-freeze':
      world.redis.program.kill('SIGSTOP');
      await sleep(holdMs);
      return world.redis.program.kill('SIGCONT');
    case 'bridge-kill':
      return world.killBridge(holdMs);
    case 'agent-freeze': {
      const { program } = world.agents[fault.victim]!;
      program.kill('SIGSTOP');
      await sleep(holdMs);
      return program.kill('SIGCONT');
    }
    case 'agent-kill': {
      const agent = world.agents[fault.victim]!;
      agent.program.kill('SIGKILL');
      await agent.program.exited;
      await sleep(holdMs);
      return world.startAgent(agent);
    }
    default:
  }
  const networks = networksOf(world, fault);
  for (const network of networks) {
    if (kind.endsWith('-silence')) network.silence();
    else if (kind.endsWith('-half-open')) network.silence(direction);
    else if (kind.endsWith('-delay')) network.delay(200);
    else if (kind.endsWith('-forgotten')) network.forget();
    else network.cut();
  }
  await sleep(holdMs);
  for (const network of networks) {
    if (fault.thenCut && (kind.endsWith('-silence') || kind.endsWith('-half-open'))) network.cut();
    network.heal();
  }
}

function networksOf(world: ChaosWorld, { kind, victim, other }: PlannedFault) {
  if (kind === 'both-silence')
    return [world.agents[victim]!.network, world.dialers[other]!.network];
  return [(kind.startsWith('agent') ? world.agents : world.dialers)[victim]!.network];
}

/** Stops a broker by SIGTERM. @throws Error it did not end in order and in time */
async function drain(broker: FleetProgram): Promise<void> {
  const { program } = broker;
  program.kill('SIGTERM');
  const late = sleep(drainLimitMs, 'late' as const, { ref: false });
  const exit = await Promise.race([program.exited, late]);
  if (exit === 'late') {
    program.kill('SIGKILL');
    await program.exited;
  }
  const { output } = program;
  await broker.restart();
  if (exit === 'late' || exit.code !== 0) {
    const how =
      exit === 'late'
        ? `did not end within ${drainLimitMs} ms`
        : `ended with ${exit.code ?? exit.signal}`;
    throw new Error(`a broker that drains ${how}:\n${output.slice(-3000)}`);
  }
}

async function flush(port: number): Promise<void> {
  const redis = new Redis({ port, host: '127.0.0.1' });
  try {
    await redis.flushall();
  } finally {
    redis.disconnect();
  }
}
