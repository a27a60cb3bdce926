import { describe, expect, it } from 'vitest';
import { parseManagedClusterAddOn } from '../../../src/addon/api/managed-cluster-addon.ts';
import { signCsr } from '../../../src/addon/csr/sign-csr.ts';
import { makeAuthority } from '../../../src/addon/rotation/authority.ts';
import { agentRegistrations, organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { signerRecordPatch } from '../../../src/addon/csr/record-signer.ts';
import { verifyCsr } from '../../../src/addon/csr/verify-csr.ts';
import { registrationJson } from '../../../src/addon/api/registration-config.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { csr } from './csr-objects.ts';
import { addOn, addOnObject, nowMs } from '../api/ocm-objects.ts';
import {
  certificateDeliveryMs,
  mayUseOtherSigner,
} from '../../../src/addon/rotation/rotation-laggards.ts';

const now = new Date(nowMs);
const [old, signing] = await Promise.all(
  ['old', 'new'].map((name) => makeAuthority(name, 'ecdsa', now)),
);
const unit = organizationalUnitOf(signing!.certPem);

async function signedBy(authority: NonNullable<typeof signing>): Promise<string> {
  const signer = organizationalUnitOf(authority.certPem);
  const of = { cluster: 'cluster1', driver: 'csr' } as const;
  const checked = await verifyCsr(
    await csr({ unit: signer }),
    of,
    agentRegistrations('cluster1', signer),
  );
  if (checked.kind === 'refused') throw new Error(checked.sentence);
  return await signCsr(checked, authority, now);
}

/** The addon after the API server has merged the patch. */
function patched(object: KubeObject, patch: Awaited<ReturnType<typeof signerRecordPatch>>) {
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

describe('the record of the CA that signed for an agent', () => {
  it('The signer of a certificate is recorded once, if it is the CA that signs now', async () => {
    const object = registered();
    const certificate = await signedBy(signing!);
    const before = parseManagedClusterAddOn(object);
    const patch = await signerRecordPatch(before, certificate, signing!, nowMs);
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
    expect(await signerRecordPatch(after, certificate, signing!, nowMs + 1)).toBeUndefined();
  });

  it.each([
    ['of the previous CA', () => signedBy(old!)],
    ['that cannot be read', () => Promise.resolve('garbage')],
  ])('The record of the signer does not change for a certificate %s', async (_, certificate) => {
    expect(await signerRecordPatch(addOn(), await certificate(), signing!, nowMs)).toBeUndefined();
  });

  it.each(['csr', 'token'] as const)(
    'The record of the signer tells whether an agent (%s) may show another certificate, after the delivery time',
    async (driver) => {
      const object = registered(driver);
      expect(mayUseOtherSigner(parseManagedClusterAddOn(object), unit, nowMs)).toBe(true);
      const patch = await signerRecordPatch(addOn(), await signedBy(signing!), signing!, nowMs);
      const after = patched(object, patch);
      expect(mayUseOtherSigner(after, unit, nowMs + certificateDeliveryMs - 1)).toBe(true);
      expect(mayUseOtherSigner(after, unit, nowMs + certificateDeliveryMs)).toBe(false);
      expect(
        mayUseOtherSigner(after, organizationalUnitOf(old!.certPem), nowMs + certificateDeliveryMs),
      ).toBe(true);
    },
  );

  it('An agent that was never registered is no laggard, and a record without its time counts as recent', () => {
    expect(mayUseOtherSigner(addOn(), unit, nowMs)).toBe(false);
    const object = registered();
    const annotations = { 'proxy.open-cluster-management.io/agent-signer': unit };
    const edited = { ...object, metadata: { ...object.metadata, annotations } };
    expect(mayUseOtherSigner(parseManagedClusterAddOn(edited), unit, nowMs)).toBe(false);
  });
});
