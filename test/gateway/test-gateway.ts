import { AccessError } from '../../src/access/access-error.ts';
import { allowAll, type Authorizer } from '../../src/access/authorizer.ts';
import type { RequestAuthenticator } from '../../src/access/request-authenticator.ts';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import type { AuditEvent } from '../../src/gateway/audit.ts';
import { ExposedServices } from '../../src/gateway/exposed-services.ts';
import { Gateway, type GatewayParts } from '../../src/gateway/gateway.ts';
import {
  defaultUserLimits,
  UserLimits,
  type UserLimitValues,
} from '../../src/gateway/user-limits.ts';

/** Forwards all credentials, as a gateway without any authentication does. */
const forwardAll: RequestAuthenticator = {
  authenticate: () => Promise.resolve({ kind: 'forward', subject: undefined }),
};

/** Forwards the token `good`, and knows no other. */
export const knowsGoodToken: RequestAuthenticator = {
  authenticate: async ({ authorization }) => {
    if (authorization[0] === 'Bearer good') return { kind: 'forward', subject: undefined };
    throw new AccessError('unauthenticated', 'nobody knows the token');
  },
};

export interface TestGatewayOptions extends Partial<
  Pick<GatewayParts, 'domain' | 'grants' | 'isKnownCluster'>
> {
  readonly authenticator?: RequestAuthenticator;
  readonly authorizer?: Authorizer;
  readonly services?: ExposedServices;
  readonly limits?: Partial<UserLimitValues>;
  readonly clock?: Clock;
}

/** A gateway and the audit events that it has sent. */
export function testGateway(options: TestGatewayOptions = {}) {
  const { clock = systemClock, services = new ExposedServices([]) } = options;
  const { domain, isKnownCluster, authenticator = forwardAll, authorizer = allowAll } = options;
  const audited: AuditEvent[] = [];
  const limits = new UserLimits({ ...defaultUserLimits, ...options.limits }, clock);
  const gateway = new Gateway({
    ...{ authenticator, authorizer, domain, isKnownCluster, limits, clock },
    grants: options.grants,
    exposedServices: () => services,
    audit: (event) => audited.push(event),
  });
  return { gateway, limits, audited };
}
