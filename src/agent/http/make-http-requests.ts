import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { TargetStreams } from '../target-streams.ts';
import { ConnectionPool } from './connection-pool.ts';
import { HttpConnection } from './http-connection.ts';
import { Http2Connections } from './http2-connections.ts';
import { HttpRequests } from './http-requests.ts';
import { HttpServers } from './http-servers.ts';
import { OwnCredentials } from './own-credentials.ts';
import { ServicePorts } from './service-ports.ts';

export interface HttpOptions {
  readonly cluster: string;
  readonly kubeCaFile: string;
  readonly kubeTokenFile: string;
  readonly serviceCaFile: string | undefined;
  readonly enableImpersonation: boolean;
}

/** The HTTP requests of an agent, whose connections count as those to its targets. */
export function makeHttpRequests(
  { cluster, kubeCaFile, kubeTokenFile, serviceCaFile, enableImpersonation }: HttpOptions,
  parts: { readonly targets: TargetStreams; readonly clock: Clock; readonly log: Logger },
): HttpRequests {
  const { targets, clock, log } = parts;
  const servers = new HttpServers({ targets, cluster, kubeCaFile, serviceCaFile, log });
  const credentials = new OwnCredentials({ tokenFile: kubeTokenFile, clock });
  const pool = new ConnectionPool(clock);
  const ports = new ServicePorts({ servers, credentials, pool, clock });
  const http2 = new Http2Connections({
    servers,
    clock,
    onHttp1: ({ key }, socket) => {
      pool.put(key, new HttpConnection(socket, (connection) => pool.put(key, connection)));
    },
  });
  const mayImpersonate = enableImpersonation;
  return new HttpRequests({ servers, credentials, ports, pool, http2, mayImpersonate, clock, log });
}
