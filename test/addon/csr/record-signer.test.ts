import { describe, expect, it } from 'vitest';
import { parseManagedClusterAddOn } from '../../../src/addon/api/managed-cluster-addon.ts';
import { signAgentCsr } from '../../../src/addon/csr/sign-csr.ts';
import { makeAuthority } from '../../../src/addon/rotation/authority.ts';
import { agentRegistrations, organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { agentSignerPatch } from '../../../src/addon/csr/record-signer.ts';
import { checkCsr } from '../../../src/addon/csr/verify-csr.ts';
import { registrationJson } from '../../../src/addon/api/registration-config.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { csr } from './csr-objects.ts';
import { addOn, addOnObject, nowMs } from '../api/ocm-objects.ts';
import { deliveryMs, mayShowAnother } from '../../../src/addon/rotation/rotation-laggards.ts';

const now = new Date(nowMs);
const [old, signing] = await Promise.all(
  ['old', 'new'].map((name) => makeAuthority(name, 'ecdsa', now)),
);
const unit = organizationalUnitOf(signing!.certPem);

async function signedBy(authority: NonNullable<typeof signing>): Promise<string> {
  const signer = organizationalUnitOf(authority.certPem);
  const of = { cluster: 'cluster1', driver: 'csr' } as const;
  const checked = await checkCsr(
    await csr({ unit: signer }),
    of,
    agentRegistrations('cluster1', signer),
  );
  if (checked.t === 'refused') throw new Error(checked.sentence);
  return await signAgentCsr(checked, authority, now);
}

/** As the API server merges it into the object. */
function patched(object: KubeObject, patch: Awaited<ReturnType<typeof agentSignerPatch>>) {
  const { annotations } = patch!['metadata'] as { annotations: Record<string, string> };
  return parseManagedClusterAddOn({
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { ...object.metadata.annotations, ...annotations },
    },
  });
}

const registered = (driver: 'csr' | 'token' = 'csr') =>
  addOnObject({
    status: {
      kubeClientDriver: driver,
      registrations: agentRegistrations('cluster1', unit).map((one) =>
        registrationJson(one, 'v1alpha1', driver),
      ),
    },
  });

describe('which CA has signed for an agent', () => {
  it('is written down once, for the one that signs now', async () => {
    const object = registered();
    const certificate = await signedBy(signing!);
    const before = parseManagedClusterAddOn(object);
    const patch = await agentSignerPatch(before, certificate, signing!, nowMs);
    expect(patch).toEqual({
      metadata: {
        uid: before.uid,
        annotations: {
          'proxy.open-cluster-management.io/agent-signer': unit,
          'proxy.open-cluster-management.io/agent-signer-since': '2026-11-22T12:00:00Z',
        },
      },
    });
    const after = patched(object, patch);
    expect(after.agentSigner).toEqual({ organizationalUnit: unit, sinceMs: nowMs });
    expect(await agentSignerPatch(after, certificate, signing!, nowMs + 1)).toBeUndefined();
  });

  it.each([
    ['of the CA before', () => signedBy(old!)],
    ['that cannot be read', () => Promise.resolve('garbage')],
  ])('is not learnt from a certificate %s', async (_, certificate) => {
    expect(await agentSignerPatch(addOn(), await certificate(), signing!, nowMs)).toBeUndefined();
  });

  it.each(['csr', 'token'] as const)(
    'decides whether an agent (%s) may show another certificate, from when it has had time to fetch the new one',
    async (driver) => {
      const object = registered(driver);
      expect(mayShowAnother(parseManagedClusterAddOn(object), unit, nowMs)).toBe(true);
      const patch = await agentSignerPatch(addOn(), await signedBy(signing!), signing!, nowMs);
      const after = patched(object, patch);
      expect(mayShowAnother(after, unit, nowMs + deliveryMs - 1)).toBe(true);
      expect(mayShowAnother(after, unit, nowMs + deliveryMs)).toBe(false);
      expect(mayShowAnother(after, organizationalUnitOf(old!.certPem), nowMs + deliveryMs)).toBe(
        true,
      );
    },
  );

  it('says nothing of an agent that has never been registered, and stands without its time', () => {
    expect(mayShowAnother(addOn(), unit, nowMs)).toBe(false);
    const object = registered();
    const annotations = { 'proxy.open-cluster-management.io/agent-signer': unit };
    const edited = { ...object, metadata: { ...object.metadata, annotations } };
    expect(mayShowAnother(parseManagedClusterAddOn(edited), unit, nowMs)).toBe(false);
  });
});
