import { describeGateway } from '../contracts/gateway.contract.ts';
import { serveGateway } from './served-gateway.ts';

describeGateway('on Node', async () => {
  const served = await serveGateway();
  return {
    ...{ url: served.gateway.url, server: served.server, seesRawTargets: true },
    set answer(answer: typeof served.answer) {
      served.answer = answer;
    },
    get answer() {
      return served.answer;
    },
    [Symbol.asyncDispose]: () => served[Symbol.asyncDispose](),
  };
});
