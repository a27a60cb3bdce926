import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { waitFor } from '../../testkit/ground/kubernetes/wait.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { apiAddress, backendPort, echoPort, podAddress, podPort } from './support/addresses.ts';
import { webhookAddress } from './support/addresses.ts';
import { CulvertEgress, type BridgeForm } from './support/culvert-egress.ts';
import { startHub, type Hub } from './support/hub.ts';
import { egressModes, grpcOverUds, type EgressMode } from './support/modes.ts';
import { apiVersion, nodeName, podName, reviewed } from './support/objects.ts';
import { egressPrograms } from './support/prepare.ts';

const bytes = 8 * 1024 * 1024;
const configMaps = '/api/v1/namespaces/default/configmaps?dryRun=All';
const echo = `/apis/${apiVersion}/echoes/hello`;

interface Variant {
  readonly mode: EgressMode;
  readonly form: BridgeForm;
  readonly aggregatorRouting: boolean;
}

const variants: readonly Variant[] = [
  ...egressModes.map((mode) => ({ mode, form: 'beside' as const, aggregatorRouting: true })),
  { mode: grpcOverUds, form: 'inside', aggregatorRouting: false },
];

const programs = await egressPrograms();

describe.each(variants)(
  'A kube-apiserver whose egress is culvert ($mode.name, bridge $form, aggregator routing $aggregatorRouting)',
  ({ mode, form, aggregatorRouting }) => {
    let stack: AsyncDisposableStack;
    let hub: Hub;
    let egress: CulvertEgress;

    beforeAll(async () => {
      await using starting = new AsyncDisposableStack();
      hub = starting.use(
        await startHub(programs, { connection: mode.connection, aggregatorRouting }),
      );
      const options = { form, agents: 1, frontArgs: mode.frontArgs(hub) };
      egress = starting.use(await CulvertEgress.start(hub, options));
      stack = starting.move();
    });
    afterAll(() => stack.disposeAsync());

    it('has no route to the pods but its egress', async () => {
      const { command, args } = hub.hub.inside({
        command: 'ip',
        args: ['route', 'get', podAddress],
      });
      await expect(run({ command, args })).rejects.toThrow(/unreachable/);
    });

    it('asks a webhook of a Service, which allows and denies', async () => {
      const allowed = await hub.request('POST', configMaps, reviewed('by-service'));
      expect(allowed).toMatchObject({ status: 201 });
      const denied = await hub.request('POST', configMaps, reviewed('by-service', true));
      expect(denied.body).toContain('denied by /service');
    });

    it('asks a webhook by URL itself, not through the tunnel', async () => {
      const { body } = await hub.request('POST', configMaps, reviewed('by-url'));
      expect(body).toContain('network is unreachable');
    });

    it('discovers an aggregated API and passes on the user', async () => {
      await waitFor(async () => (await hub.request('GET', echo)).status === 200, {
        what: 'aggregated API',
        timeoutMs: 30_000,
      });
      expect(await hub.kubectl.run(['api-resources', '--api-group=egress.culvert.test'])).toContain(
        'echoes',
      );
      const { body } = await hub.request('GET', echo);
      expect(JSON.parse(body)).toMatchObject({ user: 'admin', metadata: { name: 'hello' } });
    });

    it('dials the addresses that docs/egress-selector.md names', async () => {
      const host = (of: typeof apiAddress) => (aggregatorRouting ? of.pod : of.service);
      const port = aggregatorRouting ? backendPort : 443;
      for (const of of [apiAddress, webhookAddress]) {
        expect(egress.agents[0]!.output).toContain(
          `"host":"${host(of)}","port":${port},"code":"ok"`,
        );
      }
    });

    it('serves kubectl logs', async () => {
      expect(await hub.kubectl.run(['logs', podName, '--tail=3'])).toBe('line 0\nline 1\nline 2\n');
    });

    it('serves kubectl logs -f, line by line', async () => {
      await using logs = startProgram({
        ...hub.kubectl.commandLine(['logs', '-f', podName, '--tail=0']),
        name: 'kubectl logs -f',
      });
      await logs.waitForLine(/^line 50$/);
      expect(logs.stdout).toMatch(/^line 0\nline 1\nline 2\n/);
    });

    it('serves kubectl exec: bytes in both directions, and the exit code', async () => {
      const input = randomBytes(bytes / 2).toString('hex');
      const exec = ['exec', '-i', podName, '--'];
      expect((await hub.kubectl.run([...exec, 'cat'], { input })) === input).toBe(true);
      await expect(hub.kubectl.run([...exec, 'fail'])).rejects.toThrow(
        /code 3: .*failed on purpose/s,
      );
    });

    it('serves kubectl port-forward', async () => {
      await using forward = startProgram({
        ...hub.kubectl.commandLine(['port-forward', podName, `:${echoPort}`]),
        name: 'kubectl port-forward',
      });
      const [, port] = await forward.waitForLine(/127\.0\.0\.1:(\d+) ->/);
      const sent = randomBytes(bytes);
      const socket: Socket = connect(Number(port), '127.0.0.1');
      await once(socket, 'connect');
      const received = buffer(socket);
      socket.end(sent);
      expect(sent.equals(await received)).toBe(true);
    });

    it('serves nodes/proxy and pods/proxy', async () => {
      const node = await hub.request('GET', `/api/v1/nodes/${nodeName}/proxy/configz`);
      expect(node).toEqual({ status: 200, body: 'kubelet /configz\n' });
      const pod = `/api/v1/namespaces/default/pods/${podName}:${podPort}/proxy/a/b`;
      expect(await hub.request('GET', pod)).toEqual({ status: 200, body: 'pod /a/b\n' });
    });

    it('names the missing permission when the agent refuses a destination', async () => {
      const pod = `/api/v1/namespaces/default/pods/${podName}:4444/proxy/`;
      const { body } = await hub.request('GET', pod);
      expect(body).toContain(`--allow ${podAddress}:4444`);
    });
  },
);

describe('A kube-apiserver with the egress selections cluster and controlplane', () => {
  it('asks a webhook by URL through the tunnel', async () => {
    await using hub = await startHub(programs, {
      connection: grpcOverUds.connection,
      selections: ['cluster', 'controlplane'],
    });
    const frontArgs = grpcOverUds.frontArgs(hub);
    await using egress = await CulvertEgress.start(hub, { form: 'beside', agents: 1, frontArgs });
    const answer = await hub.request('POST', configMaps, reviewed('by-url'));
    expect(answer).toMatchObject({ status: 201 });
    expect(egress.agents[0]!.output).toContain(webhookAddress.pod);
  });
});
