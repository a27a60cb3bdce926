import type { KubeObject } from '../../kube/client/kube-object.ts';
import { findCondition, parseConditions } from '../api/condition.ts';
import { fields } from '../api/fields.ts';
import { parseManagedCluster } from '../api/managed-cluster.ts';
import {
  type ManagedClusterAddOn,
  parseManagedClusterAddOn,
} from '../api/managed-cluster-addon.ts';
import { annotations } from '../api/names.ts';
import type { FleetBehind } from './plan-certificates.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';
import { servedAgent } from '../api/eligibility.ts';
import { byCluster, type Watches } from '../runtime/watches.ts';
import { agentSignerName } from '../../base/names/agent-subject.ts';
import { caBundleMark, isDeployWork } from '../api/manifest-work.ts';

/** Who has not followed a rotation, seen the copies that `watches` keeps: of clusters whose agents are served, names in order. */
export function fleetBehind(
  watches: Pick<Watches, 'addOns' | 'clusters' | 'works'>,
  wallClock: () => Date,
): FleetBehind {
  const { addOns, clusters, works } = watches;
  const served = (isBehind: (addon: ManagedClusterAddOn) => boolean): readonly string[] =>
    addOns
      .list()
      .map(parseManagedClusterAddOn)
      .filter((addon) => {
        const managed = clusters.get(addon.cluster);
        const cluster = managed && parseManagedCluster(managed);
        return servedAgent(addon.cluster, cluster, addon).t === 'served' && isBehind(addon);
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
      return served((addon) => mayShowAnother(addon, unit, nowMs));
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
export function mayShowAnother(
  { agentSigner, registrations }: ManagedClusterAddOn,
  organizationalUnit: string,
  nowMs: number,
): boolean {
  // Nobody has told its klusterlet to ask for one yet.
  if (!registrations.some(({ signer }) => signer === agentSignerName)) return false;
  if (agentSigner?.organizationalUnit !== organizationalUnit) return true;
  return nowMs - agentSigner.sinceMs < deliveryMs;
}

/**
 * How long it may take from the signature until the agent shows the certificate, in milliseconds: the klusterlet fetches it, the
 * kubelet brings the Secret into the pod, and the agent reads it.
 */
export const deliveryMs = 10 * 60_000;
