import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRules } from '../../../src/access/node/open-rules.ts';
import { PolicyFile } from '../../../src/access/node/policy-file.ts';
import type { Subject } from '../../../src/access/subject.ts';
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

const { signal } = new AbortController();
const alice: Subject = { user: 'alice', groups: [], source: 'oidc' };
const session = { kind: 'session' } as const;
const ruleFor = (user: string) => `
rules:
  - name: one
    subjects: { users: [${user}] }
    clusters: { names: [c1] }
    allow: [{ sessions: true }]
`;

let folder: string;
let path: string;
let errors: string[];
let log: Logger;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'culvert-policy-'));
  path = join(folder, 'policy.yaml');
  errors = [];
  log = {
    ...silentLogger,
    error: (message, fields) => void errors.push(`${message}: ${String(fields?.error)}`),
  };
});
afterEach(() => rm(folder, { recursive: true }));

const open = () => PolicyFile.open({ path, clock: new VirtualClock(), log });
const verdictOf = (file: PolicyFile) => file.authorize(alice, 'c1', session);

describe('A policy file', () => {
  it('A policy file is read as YAML or JSON, and again when it changes', async () => {
    await writeFile(path, ruleFor('alice'));
    using file = await open();
    let changes = 0;
    file.onChange(() => changes++);
    expect(await verdictOf(file)).toEqual({ allowed: true });
    await writeFile(path, '{"rules": []}');
    await file.look();
    await file.look();
    expect(await verdictOf(file)).toMatchObject({ allowed: false });
    expect(changes).toBe(1);
    expect(file).toMatchObject({ reloads: 1, refusals: 0, stale: false });
  });

  it('A policy file is looked at every 5 s', async () => {
    await writeFile(path, ruleFor('bob'));
    const clock = new VirtualClock();
    using file = await PolicyFile.open({ path, clock, log });
    const changed = Promise.withResolvers<void>();
    file.onChange(changed.resolve);
    await writeFile(path, ruleFor('alice'));
    await clock.advance(5_000);
    await changed.promise;
    expect(await verdictOf(file)).toEqual({ allowed: true });
  });

  it.each([
    ['is no YAML', 'rules: [', 'at line 1'],
    ['has a key twice', 'rules: []\nrules: []', 'unique'],
    ['has an unknown field', 'rules: []\nrule: []', 'policy.rule is not known'],
    ['is empty', '', 'policy must be a map'],
    ['has two documents', 'rules: []\n---\nrules: []', 'multiple documents'],
  ])('A policy file that %s leaves the last good policy in force', async (_, text, problem) => {
    await writeFile(path, ruleFor('alice'));
    using file = await open();
    await writeFile(path, text);
    await file.look();
    await file.look();
    expect(await verdictOf(file)).toEqual({ allowed: true });
    expect(errors).toEqual([expect.stringContaining(problem)]);
    expect(file).toMatchObject({ refusals: 1, stale: true });
    await writeFile(path, ruleFor('bob'));
    await file.look();
    expect(await verdictOf(file)).toMatchObject({ allowed: false });
    expect(file.stale).toBe(false);
  });

  it('A policy file that is removed leaves the last good policy in force', async () => {
    await writeFile(path, ruleFor('alice'));
    using file = await open();
    await rm(path);
    await file.look();
    expect(await verdictOf(file)).toEqual({ allowed: true });
    // The same contents are not stale any more.
    await writeFile(path, ruleFor('alice'));
    await file.look();
    expect(file.stale).toBe(false);
  });

  it('Everything is denied while the policy file is missing at the start', async () => {
    using file = await open();
    expect(await verdictOf(file)).toEqual({
      allowed: false,
      reason: expect.stringMatching(/^everything is denied until the policy file .* ENOENT/),
    });
    expect(errors).toHaveLength(1);
    await writeFile(path, ruleFor('alice'));
    await file.look();
    expect(await verdictOf(file)).toEqual({ allowed: true });
  });
});

describe('The rules of a program', () => {
  it('Without options there are no rules, and everything stays as it was', async () => {
    using rules = await openRules({ policyFile: undefined, clock: new VirtualClock(), log });
    expect(rules.authorizer).toBeUndefined();
  });

  it('A policy that selects clusters by labels is refused where no labels are known', async () => {
    const byLabel = ruleFor('alice').replace('names: [c1]', 'selector: "team=a"');
    await writeFile(path, byLabel);
    const parts = { policyFile: path, clock: new VirtualClock(), log };
    await expect(openRules(parts)).rejects.toThrow(
      expect.objectContaining({
        code: 'labels_unknown',
        message: expect.stringContaining('rule one: it selects clusters by labels'),
      }),
    );
    const clusters = { labelsOf: () => ({ team: 'a' }), names: () => ['c1'] };
    using rules = await openRules({ ...parts, clusters });
    expect(await rules.authorizer!.authorize(alice, 'c1', session, signal)).toEqual({
      allowed: true,
    });
  });

  it('A policy and the hub cluster must both allow', async () => {
    await writeFile(path, ruleFor('alice'));
    let isAllowed = true;
    using rules = await openRules({
      policyFile: path,
      reviewAccess: async () => ({ allowed: isAllowed }),
      clock: new VirtualClock(),
      log,
    });
    const ask = (subject: Subject) => rules.authorizer!.authorize(subject, 'c1', session, signal);
    expect(await ask(alice)).toEqual({ allowed: true });
    expect(await ask({ ...alice, user: 'bob' })).toMatchObject({
      reason: expect.stringContaining('no rule'),
    });
    isAllowed = false;
    expect(await ask({ ...alice, uid: 'other', source: 'hub-token' })).toMatchObject({
      reason: expect.stringContaining('the hub cluster does not allow'),
    });
  });
});
