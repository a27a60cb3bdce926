import type { AddressInfo } from 'node:net';
import { AuthenticationChain } from '../../src/access/authentication-chain.ts';
import { KubeTokenAuthenticator } from '../../src/access/kube-token-authenticator.ts';
import { Policy } from '../../src/access/policy.ts';
import { systemClock } from '../../src/base/clock.ts';
import { reviewAtManagedCluster } from '../../src/gateway/managed-token-review.ts';
import { parseYaml } from '../../src/kube/client/parse-yaml.ts';
import { describeGateway, type GatewayUnderTest } from '../contracts/gateway.contract.ts';
import { describeGatewayPolicy } from '../contracts/gateway-policy.contract.ts';
import { directExchanges } from './direct-exchange.ts';
import { serveGateway, type ServedGateway } from './served-gateway.ts';

function underTest(served: ServedGateway, close = (): void => {}): GatewayUnderTest {
  return {
    ...{ url: served.gateway.url, server: served.server, seesRawTargets: true },
    set answer(answer: typeof served.answer) {
      served.answer = answer;
    },
    get answer() {
      return served.answer;
    },
    async [Symbol.asyncDispose]() {
      close();
      await served[Symbol.asyncDispose]();
    },
  };
}

describeGateway('on Node', async () => underTest(await serveGateway()));

describeGatewayPolicy('on Node', async (policy) => {
  const reviews = directExchanges(() => (served.server.address() as AddressInfo).port);
  const authenticator = new AuthenticationChain({
    managed: new KubeTokenAuthenticator({
      source: 'managed-token',
      // An agent adds the Host of its server.
      review: reviewAtManagedCluster(({ head, ...options }, handler) => {
        const headers = [...head.headers, ['Host', 'kubernetes.default.svc'] as const];
        return reviews.open({ ...options, head: { ...head, headers } }, handler);
      }),
      clock: systemClock,
    }),
    identifiesForwarded: true,
  });
  const authorizer = Policy.parse(parseYaml(policy));
  const served = await serveGateway({ core: { authenticator, authorizer } });
  return underTest(served, () => reviews.close());
});
