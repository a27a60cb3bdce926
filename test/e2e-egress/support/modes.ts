import { socketPath } from './culvert-egress.ts';
import type { EgressConnection, HubFiles } from './hub.ts';

/** A protocol and transport of the egress selector. */
export interface EgressMode {
  readonly name: string;
  readonly connection: (files: HubFiles) => Promise<EgressConnection>;
  /** The flags of the bridge's listener. */
  readonly frontArgs: (files: HubFiles) => readonly string[];
}

export const grpcOverUds: EgressMode = {
  name: 'GRPC over a Unix socket',
  connection: async (files) => uds('GRPC', files),
  frontArgs: (files) => ['--konnectivity-uds', socketPath(files)],
};

/** Every mode that culvert serves. */
export const egressModes: readonly EgressMode[] = [grpcOverUds];

function uds(proxyProtocol: string, files: HubFiles): EgressConnection {
  return { proxyProtocol, transport: { uds: { udsName: socketPath(files) } } };
}
