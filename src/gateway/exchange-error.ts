import type { TunnelError } from '../tunnel/errors.ts';
import { GatewayError, type GatewayErrorOptions, type StatusReason } from './gateway-error.ts';

/** After how many seconds a client may try again when no agent could take its request. */
const retryAfterSeconds = 1;

export interface FailedExchange {
  readonly cluster: string;
  /** False when a list of clusters exists and does not have this one. */
  readonly isKnownCluster: boolean | undefined;
}

/**
 * Translates the end of an exchange that has no response head. A code that leaves open whether the
 * server has received the request gets no Retry-After.
 */
export function exchangeError(error: TunnelError, failed: FailedExchange): GatewayError {
  const { cluster, isKnownCluster } = failed;
  const because = `: ${error.message}`;
  const make = (
    reason: StatusReason,
    hop: GatewayErrorOptions['hop'],
    message: string,
    options: GatewayErrorOptions = {},
  ) =>
    new GatewayError(reason, `cluster "${cluster}": ${message}`, {
      ...options,
      hop: hop!,
      cause: error,
    });
  switch (error.code) {
    case 'no_agent':
      return isKnownCluster === false
        ? new GatewayError('NotFound', `there is no cluster "${cluster}"`, { cause: error })
        : make(
            'ServiceUnavailable',
            'broker',
            'no agent of this cluster is connected, or no cluster has this name',
            { retryAfterSeconds },
          );
    case 'overloaded':
    case 'draining':
    case 'stream_limit':
      return make('ServiceUnavailable', 'broker', `the request was not accepted${because}`, {
        retryAfterSeconds,
      });
    case 'timeout':
      return make('Timeout', 'agent', `the server did not answer in time${because}`);
    case 'forbidden_target':
      return make('Forbidden', 'agent', `the agent does not allow this${because}`);
    case 'refused':
    case 'dns':
    case 'unreachable':
    case 'dial_failed':
      return make('BadGateway', 'agent', `the agent cannot reach the server${because}`);
    case 'unsupported_target':
      return make(
        'BadGateway',
        'agent',
        `the agent does not serve HTTP requests, update it${because}`,
      );
    case 'unauthorized':
    case 'forbidden':
      return make('BadGateway', 'broker', `the broker refuses the gateway${because}`);
    case 'target_reset':
    case 'reset':
      return make('BadGateway', 'server', `the server broke off the request${because}`);
    case 'agent_lost':
    case 'link_lost':
    case 'peer_unresponsive':
    case 'unknown_session':
      return make('BadGateway', 'agent', `the tunnel broke off before an answer${because}`);
    default:
      return make('BadGateway', 'agent', `the request failed${because}`);
  }
}
