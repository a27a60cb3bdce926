import { describeError } from '../../base/error.ts';
import { createConsoleLogger } from './console-logger.ts';
import type { EdgeEnv } from './env.ts';
import { Front } from './front.ts';

export { ClusterObject } from './cluster-object.ts';

/** One per isolate: variables and secrets do not change while it lives. */
let front: Promise<Front> | undefined;

function makeFront(env: EdgeEnv): Promise<Front> {
  const made = Front.create(env);
  made.catch((thrown: unknown) => {
    createConsoleLogger('error').error('not configured', { error: describeError(thrown) });
  });
  return made;
}

// oxlint-disable-next-line import/no-default-export -- where the runtime looks for it
export default {
  async fetch(request, env): Promise<Response> {
    if (new URL(request.url).pathname === '/healthz') return new Response('ok');
    front ??= makeFront(env);
    try {
      return await (await front).fetch(request);
    } catch (thrown) {
      const message = describeError(thrown);
      return Response.json({ code: 'not_configured', message }, { status: 503 });
    }
  },
} satisfies ExportedHandler<EdgeEnv>;
