import { agentSignerName } from '../../base/names/agent-subject.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';
import { agentEligibility } from '../api/managed-cluster.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { caBundleMark, isDeployWork, parseManifestWork } from '../api/manifest-work.ts';
import { annotations } from '../api/names.ts';
import { byCluster, ownersOf, type Watches } from '../runtime/watches.ts';
import type { RotationLaggards } from './plan-certificates.ts';

/**
 * The clusters that have not followed a rotation, from cached objects. Only clusters with eligible
 * agents count. Names are sorted.
 */
export function rotationLaggards(
  watches: Pick<Watches, 'addOns' | 'clusters' | 'works'>,
  nowMs: () => number,
): RotationLaggards {
  const served = (isBehind: (addon: ManagedClusterAddOn) => boolean): readonly string[] => {
    const names = watches.addOns.list().map(({ metadata }) => metadata.namespace ?? '');
    return names.toSorted().filter((name) => {
      const { cluster, addon } = ownersOf(watches, name);
      const agent = agentEligibility(name, cluster, addon);
      return agent.kind === 'eligible' && isBehind(agent.addon);
    });
  };
  return {
    bundle: ({ bundlePem }) => {
      const mark = caBundleMark(bundlePem);
      // A work is behind with another bundle, or while its newest generation is not applied.
      return served(({ cluster }) =>
        watches.works.byIndex(byCluster, cluster).some((work) => {
          const { name, annotations: marks } = work.metadata;
          const isCurrent = marks?.[annotations.caBundle] === mark;
          return isDeployWork(name) && !(isCurrent && parseManifestWork(work).isApplied);
        }),
      );
    },
    agentCertificate: ({ signing }) => {
      const unit = organizationalUnitOf(signing.certPem);
      return served((addon) => mayUseOtherSigner(addon, unit, nowMs()));
    },
  };
}

/**
 * Whether the agent of a cluster may still use a certificate of another CA than that of
 * `organizationalUnit`. This applies to an agent with a token for the hub as well, because its
 * certificate for the broker always comes from a request.
 */
export function mayUseOtherSigner(
  { agentSigner, registrations }: ManagedClusterAddOn,
  organizationalUnit: string,
  nowMs: number,
): boolean {
  // The klusterlet has not been told yet to request a certificate.
  if (!registrations.some(({ signer }) => signer === agentSignerName)) return false;
  if (agentSigner?.organizationalUnit !== organizationalUnit) return true;
  return nowMs - agentSigner.sinceMs < certificateDeliveryMs;
}

/**
 * The longest time from the signature until the agent uses the certificate, in milliseconds. The
 * klusterlet fetches it, the kubelet updates the Secret in the pod, and the agent reads it.
 */
export const certificateDeliveryMs = 10 * 60_000;
