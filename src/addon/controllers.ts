import { ClusterProfileController } from './cluster-profile/cluster-profile-controller.ts';
import { ClusterController } from './cluster/cluster-controller.ts';
import { ClusterSettingsController } from './cluster/cluster-settings-controller.ts';
import { managementAddOnController } from './cluster/management-addon.ts';
import { CsrController } from './csr/csr-controller.ts';
import { HubController } from './hub/hub-controller.ts';
import { observableHubState } from './hub/hub-state.ts';
import type { AddonOptions } from './options.ts';
import { defaultSecretNames } from './rotation/plan-certificates.ts';
import { Applier } from './runtime/applier.ts';
import type { AddonContext } from './runtime/addon-context.ts';
import { watchHub } from './runtime/watches.ts';

/** The work of the addon manager while it leads. */
export type Controllers = Readonly<ReturnType<typeof makeControllers>>;

/** @param addonVersion the version of OCM's addon API that the hub serves */
export function makeControllers(parts: AddonContext, options: AddonOptions, addonVersion: string) {
  const { namespace, signerSecretNamespace: signerNamespace, signerSecretName } = options;
  const signerSecrets = [signerSecretName, defaultSecretNames.agentSigner];
  const where = { namespace, signerNamespace, signerSecrets };
  const watches = watchHub({ ...parts, ...where, addonVersion });
  const state = observableHubState();
  const applier = new Applier(parts.api, parts.clock);
  const common = { ...parts, ...options, watches, state, applier };
  const hub = new HubController({ ...common, signerNamespace });
  const requests = new CsrController(common);
  const hasProfiles = options.features.has('ClusterProfile');
  const withCaches = [
    hub,
    new ClusterSettingsController(common),
    ...(hasProfiles ? [new ClusterProfileController(common)] : []),
  ];
  const others = [
    new ClusterController(common).controller,
    requests.controller,
    managementAddOnController(common),
  ];
  return {
    /** For metrics. */
    get numbers() {
      return {
        clusters: watches.addOns.size,
        controllers: [...withCaches.map(({ controller }) => controller), ...others].map(
          ({ status }) => status,
        ),
        requests: requests.counts,
        rotations: hub.certificates.rotations,
      };
    },
    /** Why the controllers do not work yet: objects that have not been read. */
    get unready(): string | undefined {
      const informers = [...watches.all, ...hub.cache.informers];
      const unread = informers.filter(({ hasSynced }) => !hasSynced);
      if (unread.length === 0) return undefined;
      const problems = unread.flatMap(({ problem }) => problem ?? []);
      return problems.join('; ') || `${unread.length} kinds of objects are still being read`;
    },
    /** Works until `signal` aborts, and ends when all reconciles have ended. It can run once. */
    async run(signal: AbortSignal): Promise<void> {
      await Promise.all([...watches.all, ...withCaches, ...others].map((part) => part.run(signal)));
    },
  };
}
