import type { ControllerStatus } from '../kube/controllers/controller.ts';
import type { AddonNumbers } from './addon-metrics.ts';
import { ClusterController } from './cluster/cluster-controller.ts';
import { managementAddOnController } from './cluster/management-addon-controller.ts';
import { CsrController } from './csr/csr-controller.ts';
import { HubController } from './hub/hub-controller.ts';
import { observableHubState } from './hub/hub-state.ts';
import type { AddonOptions } from './options.ts';
import { defaultSecretNames } from './rotation/plan-certificates.ts';
import { Applier } from './runtime/applier.ts';
import { configLookup } from './runtime/config-lookup.ts';
import type { AddonContext } from './runtime/addon-context.ts';
import { Watches } from './runtime/watches.ts';

/** The work of the addon manager while it leads. */
export class Controllers {
  readonly #watches: Watches;
  readonly #hub: HubController;
  readonly #requests: CsrController;
  readonly #all: readonly { run(signal: AbortSignal): Promise<void> }[];
  readonly #statuses: readonly { readonly status: ControllerStatus }[];

  /** @param addonVersion the version of OCM's addon API that the hub serves */
  constructor(parts: AddonContext, options: AddonOptions, addonVersion: string) {
    const { api, clock } = parts;
    const { namespace, signerSecretNamespace: signerNamespace, signerSecretName } = options;
    const signerSecrets = [signerSecretName, defaultSecretNames.agentSigner];
    const where = { namespace, signerNamespace, signerSecrets };
    const watches = new Watches({ ...parts, ...where, addonVersion });
    const state = observableHubState();
    const applier = new Applier(api, clock);
    const findConfig = configLookup(watches);
    const common = { ...parts, ...options, watches, state, applier, findConfig };
    const hub = new HubController({ ...common, signerNamespace, settings: options });
    const clusters = new ClusterController(common);
    const requests = new CsrController(common);
    const managementAddOn = managementAddOnController(common);
    this.#watches = watches;
    this.#hub = hub;
    this.#requests = requests;
    const controllers = [clusters.controller, requests.controller, managementAddOn];
    this.#all = [watches, hub, ...controllers];
    this.#statuses = [hub.controller, ...controllers];
  }

  get numbers(): Omit<AddonNumbers, 'isLeading'> {
    return {
      clusters: this.#watches.addOns.size,
      controllers: this.#statuses.map(({ status }) => status),
      requests: this.#requests.counts,
      rotations: this.#hub.rotations,
    };
  }

  /** Why the controllers do not work yet: objects that have not been read. */
  get unready(): string | undefined {
    const informers = [...this.#watches.all, ...this.#hub.informers];
    const unread = informers.filter(({ hasSynced }) => !hasSynced);
    if (unread.length === 0) return undefined;
    const problems = unread.flatMap(({ problem }) => problem ?? []);
    return problems.join('; ') || `${unread.length} kinds of objects are still being read`;
  }

  /** Works until `signal` aborts, and ends when all reconciles have ended. It can run once. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#all.map((part) => part.run(signal)));
  }
}
