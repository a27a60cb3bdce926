import { agentSignerName } from '../../base/names/agent-subject.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';
import { findCondition, parseConditions } from '../api/condition.ts';
import { agentEligibility } from '../api/eligibility.ts';
import { fields } from '../api/fields.ts';
import {
  type ManagedClusterAddOn,
  parseManagedClusterAddOn,
} from '../api/managed-cluster-addon.ts';
import { parseManagedCluster } from '../api/managed-cluster.ts';
import { caBundleMark, isDeployWork } from '../api/manifest-work.ts';
import { annotations } from '../api/names.ts';
import { byCluster, type Watches } from '../runtime/watches.ts';
import type { RotationLaggards } from './plan-certificates.ts';

/** Who has not followed a rotation, seen the copies that `watches` keeps: of clusters whose agents are served, names in order. */
export function rotationLaggards(
  watches: Pick<Watches, 'addOns' | 'clusters' | 'works'>,
  wallClock: () => Date,
): RotationLaggards {
  const { addOns, clusters, works } = watches;
  const served = (isBehind: (addon: ManagedClusterAddOn) => boolean): readonly string[] =>
    addOns
      .list()
      .map(parseManagedClusterAddOn)
      .filter((addon) => {
        const managed = clusters.get(addon.cluster);
        const cluster = managed && parseManagedCluster(managed);
        return (
          agentEligibility(addon.cluster, cluster, addon).kind === 'eligible' && isBehind(addon)
        );
      })
      .map(({ cluster }) => cluster)
      .toSorted();
  return {
    bundle: ({ bundlePem }) => {
      const mark = caBundleMark(bundlePem);
      return served(({ cluster }) =>
        works
          .byIndex(byCluster, cluster)
          .some((work) => isDeployWork(work.metadata.name) && isWorkBehind(work, mark)),
      );
    },
    agentCertificate: ({ signing }) => {
      const unit = organizationalUnitOf(signing.certPem);
      const nowMs = wallClock().getTime();
      return served((addon) => mayUseOtherSigner(addon, unit, nowMs));
    },
  };
}

/** Whether a ManifestWork does not bring the bundle, or the cluster has not taken over the newest of it. */
function isWorkBehind({ metadata, status }: KubeObject, mark: string): boolean {
  if (metadata.annotations?.[annotations.caBundle] !== mark) return true;
  const applied = findCondition(parseConditions(fields(status)['conditions']), 'Applied');
  const hasApplied = applied?.status === 'True';
  return !hasApplied || (applied.observedGeneration ?? 0) < (metadata.generation ?? 0);
}

/**
 * Whether the agent of a cluster may show a certificate of another CA than the one that `organizationalUnit` stands for. Also where it has
 * a token for the hub: its certificate for the broker it gets by a request all the same.
 */
export function mayUseOtherSigner(
  { agentSigner, registrations }: ManagedClusterAddOn,
  organizationalUnit: string,
  nowMs: number,
): boolean {
  // Nobody has told its klusterlet to ask for one yet.
  if (!registrations.some(({ signer }) => signer === agentSignerName)) return false;
  if (agentSigner?.organizationalUnit !== organizationalUnit) return true;
  return nowMs - agentSigner.sinceMs < certificateDeliveryMs;
}

/**
 * How long it may take from the signature until the agent shows the certificate, in milliseconds: the klusterlet fetches it, the
 * kubelet brings the Secret into the pod, and the agent reads it.
 */
export const certificateDeliveryMs = 10 * 60_000;
