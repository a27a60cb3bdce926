import { describe, expect, it } from 'vitest';
import { type Candidate, chooseAgent } from '../../src/konnectivity-agents/proxy-strategy.ts';

interface Agent extends Candidate {
  readonly name: string;
}

function agent(name: string, traits: Partial<Candidate> = {}): Agent {
  const plain = {
    hosts: new Set<string>(),
    isDefaultRoute: false,
    isDraining: false,
    isSuspect: false,
    isDuplicate: false,
    isFull: false,
    load: 0,
  };
  return { name, ...plain, ...traits };
}

const nothing = new Set<Agent>();
const named = agent('named', { hosts: new Set(['h']) });
const route = agent('route', { isDefaultRoute: true });
const plain = agent('plain');
const all = [plain, route, named];

describe('The choice of an agent', () => {
  it.each([
    [['destHost', 'default'], 'h', 'named'],
    [['destHost', 'default'], 'H', 'plain'],
    [['destHost', 'defaultRoute', 'default'], 'other', 'route'],
    [['default', 'destHost'], 'h', 'plain'],
    [['destHost'], 'other', undefined],
  ] as const)('The strategies %j choose for the host %s the agent %s', (strategies, host, name) => {
    expect(chooseAgent(all, strategies, host, nothing)?.name).toBe(name);
  });

  it('The agent with the fewest connections is chosen', () => {
    const agents = [agent('a', { load: 2 }), agent('b', { load: 1 }), agent('c', { load: 3 })];
    expect(chooseAgent(agents, ['default'], 'h', nothing)?.name).toBe('b');
  });

  it('The load decides only between agents that are equally good', () => {
    const agents = [
      agent('draining', { isDraining: true }),
      agent('suspect', { isSuspect: true, load: 1 }),
      agent('duplicate', { isDuplicate: true, load: 2 }),
      agent('good', { load: 3 }),
      agent('full', { isFull: true }),
    ];
    const order = [];
    const tried = new Set<Agent>();
    for (;;) {
      const next = chooseAgent(agents, ['default'], 'h', tried);
      if (next === undefined) break;
      order.push(next.name);
      tried.add(next);
    }
    expect(order).toEqual(['good', 'duplicate', 'suspect', 'draining']);
  });

  it('A draining agent with the host is chosen before an agent of the next strategy', () => {
    const draining = agent('draining', { hosts: new Set(['h']), isDraining: true });
    const strategies = ['destHost', 'default'] as const;
    expect(chooseAgent([plain, draining], strategies, 'h', nothing)?.name).toBe('draining');
  });
});
