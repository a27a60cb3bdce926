import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { type GatewayWorker, startGatewayWorker } from './gateway-worker.ts';

const watchPath = '/c1/api/v1/namespaces/shop/pods?watch=true';
const execPath = '/c1/api/v1/namespaces/shop/pods/a/exec?command=sh';

/** The token of a user is the user's name. Users without a right are in `forbidden`. */
function hubListener(forbidden: ReadonlySet<string>): RequestListener {
  return (request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (piece: string) => (text += piece));
    request.on('end', () => {
      const { token = '', user = '' } = (JSON.parse(text) as ReviewBody).spec;
      const status = request.url!.endsWith('/tokenreviews')
        ? { authenticated: true, user: { username: token, groups: [] } }
        : { allowed: !forbidden.has(user) };
      response.statusCode = 201;
      response.end(JSON.stringify({ status }));
    });
  };
}

interface ReviewBody {
  readonly spec: { readonly token?: string; readonly user?: string };
}

/** The kube-apiserver knows no token, begins each watch with one event, and leaves it open. */
const kubeApiserver: RequestListener = (request, response) => {
  if (request.url!.endsWith('/tokenreviews')) {
    response.statusCode = 201;
    response.end('{"status":{"authenticated":false}}');
  } else if (request.url!.includes('watch=true')) {
    response.write('{"type":"ADDED"}\n');
  } else {
    response.end('{"kind":"PodList"}');
  }
};

describe('A user of the gateway in the Worker who loses a right', () => {
  const forbidden = new Set<string>();
  const hub = createServer(hubListener(forbidden));
  const sockets = new WebSocketServer({ noServer: true });
  let vars: Record<string, string>;
  let world: GatewayWorker;
  beforeAll(async () => {
    hub.listen(0, '127.0.0.1');
    await once(hub, 'listening');
    vars = {
      CULVERT_HUB_API_SERVER: `http://127.0.0.1:${(hub.address() as AddressInfo).port}`,
      CULVERT_HUB_API_TOKEN: 'hub-access',
      CULVERT_SUBJECT_ACCESS_REVIEW: 'true',
    };
    world = await startGatewayWorker(vars);
    world.answer = kubeApiserver;
    world.server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      sockets.handleUpgrade(request, socket, head, (accepted) => {
        accepted.on('message', (data: Buffer) => accepted.send(data));
      });
    });
  }, 60_000);
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    hub.close();
    hub.closeAllConnections();
  });

  // Clients written in Go accept gzip, which must not hold back the events of a watch.
  const fieldsOf = (user: string) => ({
    Authorization: `Bearer ${user}`,
    'Accept-Encoding': 'gzip',
  });

  /** A watch that has brought its first event. */
  async function watch(user: string) {
    let text = '';
    let end: string | undefined;
    const read = async () => {
      const response = await fetch(`${world.url}${watchPath}`, { headers: fieldsOf(user) });
      const pieces = response.body!.pipeThrough(new TextDecoderStream());
      for await (const piece of pieces) text += piece;
    };
    const ending = read().then(
      () => (end = 'complete'),
      () => (end = 'cut'),
    );
    // An event that is held back never comes, because the server leaves the watch open.
    await expect.poll(() => text, { timeout: 20_000 }).toBe('{"type":"ADDED"}\n');
    return { ending, isOpen: () => end === undefined };
  }

  /** An exec session that has passed a message both ways. */
  async function exec(user: string) {
    const client = new WebSocket(`${world.url.replace('http', 'ws')}${execPath}`, {
      headers: fieldsOf(user),
    });
    const ending = once(client, 'close').then(([code, reason]) => `${code} ${reason}`);
    await once(client, 'open');
    const echo = async (text: string) => {
      client.send(text);
      const [data] = (await once(client, 'message')) as [Buffer];
      return data.toString();
    };
    expect(await echo('hello')).toBe('hello');
    return { client, ending, echo };
  }

  it('A watch and an exec session end when the review turns to no, and those of others stay', async () => {
    const [ofJane, execOfJane] = [await watch('jane'), await exec('jane')];
    const [ofMary, execOfMary] = [await watch('mary'), await exec('mary')];
    forbidden.add('jane');
    expect(await ofJane.ending).toBe('cut');
    expect(await execOfJane.ending).toMatch(/^1011 the hub cluster does not allow/);
    const { status } = await fetch(`${world.url}${watchPath}`, { headers: fieldsOf('jane') });
    expect(status).toBe(403);
    expect(ofMary.isOpen()).toBe(true);
    expect(await execOfMary.echo('still here')).toBe('still here');
    execOfMary.client.terminate();
  }, 180_000);

  it('A watch and an exec session end with a cut when a new version of the Worker has another policy', async () => {
    const [watched, session] = [await watch('mary'), await exec('mary')];
    await world.broker.deploy({ CULVERT_GATEWAY: 'true', ...vars, CULVERT_POLICY: 'rules: []' });
    expect(await watched.ending).toBe('cut');
    expect(await session.ending).toMatch(/^10(?:06|11|12) /);
    // The agent connects to the new version, which then knows that the cluster exists.
    await expect
      .poll(
        async () => {
          const headers = fieldsOf('mary');
          const response = await fetch(`${world.url}${watchPath}`, { headers });
          await response.body?.cancel();
          return response.status;
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBe(403);
  }, 120_000);
});
