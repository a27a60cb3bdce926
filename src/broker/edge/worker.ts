import { describeError } from '../../base/error.ts';
import { createConsoleLogger } from './console-logger.ts';
import type { EdgeEnv } from './env.ts';
import { EdgeRouter } from './edge-router.ts';

export { ClusterObject } from './cluster-object.ts';

/** One per isolate, because variables and secrets do not change while it lives. */
let router: Promise<EdgeRouter> | undefined;

function makeRouter(env: EdgeEnv): Promise<EdgeRouter> {
  const made = EdgeRouter.create(env);
  made.catch((thrown: unknown) => {
    createConsoleLogger('error').error('not configured', { error: describeError(thrown) });
  });
  return made;
}

// oxlint-disable-next-line import/no-default-export -- the runtime expects it
export default {
  async fetch(request, env): Promise<Response> {
    router ??= makeRouter(env);
    try {
      return await (await router).fetch(request);
    } catch (thrown) {
      // The Worker lives, although its variables are wrong.
      if (new URL(request.url).pathname === '/healthz') return new Response('ok');
      const message = describeError(thrown);
      return Response.json({ code: 'not_configured', message }, { status: 503 });
    }
  },
} satisfies ExportedHandler<EdgeEnv>;
