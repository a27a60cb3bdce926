import { describe, expect, it } from 'vitest';
import { type FindLaggards, minimumWaits } from '../../../src/addon/rotation/authority-rotation.ts';
import { dayMs, hourMs } from '../../../src/addon/rotation/lifetimes.ts';
import { annotations } from '../../../src/addon/rotation/secret.ts';
import { organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { freshHub, Hub, isTrusted, leafNames, minuteMs, namesOf } from './kept-secrets.ts';

/** A function that must not be called. */
const forbidden = (): never => {
  throw new Error('nobody asks for that here');
};

describe('the rotation of a CA', () => {
  const { distributeMs, retireMs } = minimumWaits.requested;
  const rotate = (hub: Hub, value = 'please') =>
    hub.annotate('cluster-proxy-signer', annotations.rotateCa, value);
  const stageOf = async (hub: Hub) => (await hub.reconcile()).konnectivity!.stage;

  it('A rotation is requested by an annotation, once for each value', async () => {
    const hub = await freshHub();
    rotate(hub, 'one');
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs);
    expect(await stageOf(hub)).toBe('steady');
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('steady');
    rotate(hub, 'two');
    expect(await stageOf(hub)).toBe('distributing');
    // A request during a rotation starts another rotation after the first.
    rotate(hub, 'three');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs);
    expect(await stageOf(hub)).toBe('steady');
    expect(await stageOf(hub)).toBe('distributing');
  });

  it('A rotation by age begins after 80 % of the lifetime, and is slow', async () => {
    const hub = await freshHub();
    hub.pass(0.81 * 3652 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(29 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('retiring');
    // Certificates are renewed meanwhile, which does not restart the wait.
    for (const days of [100, 79]) {
      hub.pass(days * dayMs);
      expect(await stageOf(hub)).toBe('retiring');
    }
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('steady');
    expect(hub.bundle()).toHaveLength(1);
  });

  it('A rotation is as fast as a CA that expires soon needs it', async () => {
    const hub = await freshHub();
    hub.pass(3632 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    const trusted = hub.bundle();
    hub.spec = { laggards: { bundle: () => ['away'], agentCertificate: () => [] } };
    hub.pass(9 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(2 * dayMs);
    expect(await stageOf(hub)).toBe('retiring');
    expect(await isTrusted(hub.leaf('agent-server'), trusted)).toBe(true);
    hub.spec = {};
    hub.pass(10 * dayMs);
    expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
  });

  it('A CA that expired while nobody was there is replaced by the next one, which is trusted already', async () => {
    const hub = await freshHub();
    hub.pass(3651 * dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    const trusted = hub.bundle();
    hub.pass(2 * dayMs);
    expect(await stageOf(hub)).toBe('retiring');
    expect(await isTrusted(hub.leaf('agent-server'), trusted)).toBe(true);
  });

  it('Each stage of a rotation changes only what belongs to it', async () => {
    const hub = await freshHub();
    const [first] = hub.bundle();
    const before = hub.leaf('agent-server');
    rotate(hub);
    await hub.reconcile();
    const [signing, next] = hub.bundle();
    expect(signing!.equals(first!)).toBe(true);
    expect(next!.title).not.toBe(first!.title);
    expect(hub.leaf('agent-server').equals(before)).toBe(true);
    expect(hub.text('cluster-proxy-signer', 'next.key')).toContain('PRIVATE KEY');

    hub.pass(distributeMs);
    await hub.reconcile();
    expect(hub.bundle().map(({ title }) => title)).toEqual([next!.title, first!.title]);
    for (const name of leafNames) expect(await hub.leaf(name).isIssuedBy(next!)).toBe(true);
    expect(hub.text('cluster-proxy-signer', 'ca.crt')).toBe(next!.pem);
    expect(hub.text('cluster-proxy-signer', 'next.crt')).toBe('');
    expect(hub.text('cluster-proxy-signer', 'previous.crt')).toBe(first!.pem);

    hub.pass(retireMs);
    await hub.reconcile();
    expect(hub.bundle().map(({ title }) => title)).toEqual([next!.title]);
    expect(hub.text('cluster-proxy-signer', 'previous.crt')).toBe('');
    // The other CA has not changed.
    expect(hub.bundle('agent-ca')).toHaveLength(1);
  });

  it('A stage lasts from when the bundle was stored, however long the manager was away', async () => {
    const hub = await freshHub();
    rotate(hub);
    // Killed after the next CA was stored, and before the bundles were written.
    await hub.reconcile(1);
    expect(hub.bundle()).toHaveLength(1);
    hub.pass(dayMs);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs - 1);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(1);
    expect(await stageOf(hub)).toBe('retiring');
  });

  it('A stage begins again when a person has edited the bundle', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.pass(distributeMs - 1);
    hub.replaceText('proxy-server-ca', 'ca.crt', hub.bundle()[0]!.pem);
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs - 1);
    expect(await stageOf(hub)).toBe('distributing');
  });

  it('A rotation drops the old CA only when its certificates have been unused for long enough', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.pass(distributeMs);
    // Killed after the bundles, repeatedly. The brokers still use the old certificates.
    for (let time = 0; time < 3; time++) {
      await hub.reconcile(4);
      hub.pass(retireMs);
      expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
    }
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(retireMs - 1);
    expect(await stageOf(hub)).toBe('retiring');
    hub.pass(1);
    expect(await stageOf(hub)).toBe('steady');
  });

  it('A rotation waits at most a day for clusters that have not applied the bundle', async () => {
    const hub = await freshHub();
    hub.spec = { laggards: { bundle: () => ['c1', 'c2'], agentCertificate: forbidden } };
    rotate(hub);
    const begun = await hub.reconcile();
    expect(begun.konnectivity?.wait).toEqual({
      until: new Date(hub.now.getTime() + distributeMs),
      atLatest: new Date(hub.now.getTime() + distributeMs + dayMs),
      laggards: ['c1', 'c2'],
    });
    hub.pass(distributeMs + 23 * hourMs);
    const plan = await hub.reconcile();
    expect(plan.konnectivity?.stage).toBe('distributing');
    expect(plan.konnectivity?.skippedLaggards).toEqual([]);
    expect(plan.lookAgainAt.getTime() - hub.now.getTime()).toBe(minuteMs);
    hub.pass(hourMs);
    const gone = await hub.reconcile();
    expect(gone.konnectivity).toMatchObject({ stage: 'retiring', skippedLaggards: ['c1', 'c2'] });
    // The later stages do not wait for these clusters. A cluster that does not know the new CA is
    // refused with or without the old CA.
    expect(gone.konnectivity?.wait?.laggards).toEqual([]);
  });

  it("A rotation of the agents' CA keeps the old CA until clusters have a certificate of the new one", async () => {
    const hub = await freshHub();
    let behind: readonly string[] = [];
    const asked: string[] = [];
    const agentCertificate: FindLaggards = ({ signing }) => {
      asked.push(signing.certPem);
      return behind;
    };
    hub.spec = { laggards: { bundle: forbidden, agentCertificate } };
    await hub.reconcile();
    hub.annotate('cluster-proxy-agent-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    // The clusters still use certificates of the old CA, and have not been told to replace them.
    behind = ['c1'];
    hub.pass(distributeMs - 1);
    await hub.reconcile();
    expect(asked).toEqual([]);
    hub.pass(1);
    const swapped = await hub.reconcile();
    expect(swapped.agents).toMatchObject({ stage: 'retiring', wait: { laggards: ['c1'] } });
    expect(new Set(asked)).toEqual(new Set([hub.text('cluster-proxy-agent-signer', 'ca.crt')]));
    hub.pass(retireMs + 20 * hourMs);
    const held = await hub.reconcile();
    expect(held.agents?.stage).toBe('retiring');
    expect(held.lookAgainAt.getTime() - hub.now.getTime()).toBe(minuteMs);
    expect(hub.bundle('agent-ca')).toHaveLength(2);
    behind = [];
    expect((await hub.reconcile()).agents).toMatchObject({ stage: 'steady', skippedLaggards: [] });
    expect(hub.bundle('agent-ca')).toHaveLength(1);
  });

  it("A rotation of the agents' CA waits at most a day for an absent cluster", async () => {
    const hub = await freshHub();
    hub.spec = { laggards: { bundle: forbidden, agentCertificate: () => ['away'] } };
    hub.annotate('cluster-proxy-agent-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    hub.pass(distributeMs);
    await hub.reconcile();
    hub.pass(retireMs + dayMs - 1);
    expect((await hub.reconcile()).agents?.stage).toBe('retiring');
    hub.pass(1);
    expect((await hub.reconcile()).agents).toMatchObject({
      stage: 'steady',
      skippedLaggards: ['away'],
    });
  });

  it('A rotation continues when its next CA was lost', async () => {
    const hub = await freshHub();
    rotate(hub);
    await hub.reconcile();
    hub.replaceText('cluster-proxy-signer', 'next.key', 'garbage');
    expect(await stageOf(hub)).toBe('distributing');
    hub.pass(distributeMs);
    expect(await stageOf(hub)).toBe('retiring');
    expect(await isTrusted(hub.leaf('agent-server'), hub.bundle())).toBe(true);
  });

  it("A rotation of the agents' CA changes their registration when the new CA signs", async () => {
    const hub = await freshHub();
    const unit = () => organizationalUnitOf(hub.text('cluster-proxy-agent-signer', 'ca.crt'));
    const before = unit();
    hub.annotate('cluster-proxy-agent-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    expect(unit()).toBe(before);
    expect(hub.bundle('agent-ca')).toHaveLength(2);
    hub.pass(distributeMs);
    const { agents } = await hub.reconcile();
    expect(unit()).not.toBe(before);
    expect(agents!.signing.certificate.equals(hub.bundle('agent-ca')[0]!)).toBe(true);
    hub.pass(retireMs);
    await hub.reconcile();
    expect(hub.bundle('agent-ca')).toHaveLength(1);
  });

  it('A rotation never refuses a program that is one stage late, wherever the manager is killed', async () => {
    for (const killedAfter of [1, 2, 3, 4, 5, 6, Infinity]) {
      const hub = await freshHub();
      // What the readers have loaded: at each step they are up to date, or one step behind.
      let bundles = [hub.bundle()];
      let leaves = leafNames.map((name) => hub.leaf(name));
      rotate(hub, `killed after ${killedAfter}`);
      for (let step = 0; step < 12; step++) {
        await hub.reconcile(step % 2 === 0 ? killedAfter : Infinity);
        const nowLeaves = leafNames.map((name) => hub.leaf(name));
        for (const bundle of [...bundles.slice(-1), hub.bundle()]) {
          for (const leaf of [...leaves, ...nowLeaves]) {
            expect(await isTrusted(leaf, bundle), `step ${step}, ${killedAfter}`).toBe(true);
          }
        }
        bundles = [...bundles, hub.bundle()];
        leaves = nowLeaves;
        hub.pass(distributeMs);
      }
      expect(bundles.some((bundle) => bundle.length === 2)).toBe(true);
      expect(hub.bundle()).toHaveLength(1);
    }
  });
});

describe('while the names of the hub are not known', () => {
  const { distributeMs, retireMs } = minimumWaits.requested;

  it('Without known names, certificates are renewed by age with their names', async () => {
    const hub = await freshHub();
    hub.spec = { names: namesOf(['proxy.example.com', '2001:db8::1']) };
    await hub.reconcile();
    const before = hub.leaf('agent-server');
    hub.spec = { names: undefined };
    hub.pass(143 * dayMs);
    expect((await hub.reconcile()).leaves.agentServer?.reissued).toBeUndefined();
    hub.pass(dayMs);
    const { leaves } = await hub.reconcile();
    for (const { reissued } of Object.values(leaves)) expect(reissued).toBe('aged');
    const after = hub.leaf('agent-server');
    expect(after.notAfter > before.notAfter).toBe(true);
    expect(after.alternativeNames).toEqual(before.alternativeNames);
    expect(after.subject).toEqual(before.subject);
    expect(await isTrusted(after, hub.bundle())).toBe(true);
    expect((await hub.plan()).leaves.agentServer?.reissued).toBeUndefined();
  });

  it('Without known names, rotations continue to their end', async () => {
    const hub = await freshHub();
    hub.annotate('cluster-proxy-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    hub.spec = { names: undefined };
    const before = hub.leaf('proxy-client');
    hub.pass(distributeMs);
    await hub.reconcile();
    expect(hub.leaf('proxy-client').equals(before)).toBe(false);
    expect(hub.leaf('proxy-client').alternativeNames).toEqual(before.alternativeNames);
    hub.pass(retireMs);
    expect((await hub.reconcile()).konnectivity?.stage).toBe('steady');
    expect(hub.bundle()).toHaveLength(1);
  });

  it.each([
    ['cluster-proxy-signer', ['cluster-proxy-agent-signer', 'agent-ca']],
    [
      'proxy-server',
      [
        'cluster-proxy-signer',
        'cluster-proxy-agent-signer',
        'proxy-server-ca',
        'agent-ca',
        'agent-server',
        'proxy-client',
      ],
    ],
    ['agent-ca', ['cluster-proxy-signer', 'proxy-server-ca', ...leafNames]],
  ])(
    'A missing %s is not made while the names of the hub are not known',
    async (missing, planned) => {
      const hub = await freshHub();
      hub.secrets.delete(missing);
      hub.spec = { names: undefined };
      const { secrets, problems } = await hub.plan();
      expect(secrets.map(({ metadata }) => metadata.name)).toEqual(planned);
      expect(problems).toEqual([]);
    },
  );

  it('Without known names, no new CA or certificate is made', async () => {
    const hub = new Hub();
    hub.spec = { names: undefined };
    expect((await hub.plan()).secrets).toEqual([]);
  });
});

describe('a paused rotation', () => {
  const { distributeMs } = minimumWaits.requested;
  const still = { paused: true };

  it('A paused rotation neither begins nor continues, and certificates are still renewed', async () => {
    const hub = await freshHub();
    hub.spec = still;
    hub.annotate('cluster-proxy-signer', annotations.rotateCa, 'now');
    expect((await hub.reconcile()).konnectivity).toMatchObject({ stage: 'steady' });
    hub.spec = {};
    await hub.reconcile();
    hub.spec = still;
    hub.pass(distributeMs + 150 * dayMs);
    const plan = await hub.reconcile();
    expect(plan.konnectivity).toMatchObject({ stage: 'distributing', wait: undefined });
    expect(plan.leaves.agentServer?.reissued).toBe('aged');
    expect(plan.lookAgainAt.getTime() - hub.now.getTime()).toBe(hourMs);
    hub.spec = {};
    expect((await hub.reconcile()).konnectivity?.stage).toBe('retiring');
  });

  it("The rotation of the brokers' CA is paused while the agents' CA cannot be read", async () => {
    const hub = await freshHub();
    hub.annotate('cluster-proxy-signer', annotations.rotateCa, 'now');
    await hub.reconcile();
    const good = hub.text('cluster-proxy-agent-signer', 'ca.crt');
    hub.replaceText('cluster-proxy-agent-signer', 'ca.crt', 'garbage');
    hub.pass(distributeMs);
    expect((await hub.reconcile()).konnectivity?.stage).toBe('distributing');
    hub.replaceText('cluster-proxy-agent-signer', 'ca.crt', good);
    expect((await hub.reconcile()).konnectivity?.stage).toBe('retiring');
  });
});
