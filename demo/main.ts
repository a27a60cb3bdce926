// npm run demo: one request from end to end, on this machine alone, with every hop in words. `--check` prints what was verified.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateTokenKeyPair, issueToken } from '../src/base/tokens/enrolment-token.ts';
import { describeError } from '../src/base/error.ts';
import { readOptions } from '../src/base/options/read-options.ts';
import type { OptionsTable } from '../src/base/options/option-table.ts';
import { createPinoLogger } from '../src/base/log/pino-logger.ts';
import { type LocalWorld, startLocalWorld } from '../src/cli/local-world.ts';
import { sampleGreeting } from '../src/cli/sample-target.ts';
import { KonnectivityClient } from '../src/konnectivity-client/konnectivity-client.ts';
import { measure } from './measure.ts';
import { send, textOf } from './tunnelled-http.ts';

const cluster = 'demo';
const limitMs = 60_000;

const demoTable = {
  check: { name: 'check', kind: 'boolean', help: 'Prints what was verified.' },
} as const satisfies OptionsTable;

const checked: string[] = [];

/** Ends the demo if a result is wrong, so that it shows only verified results. */
function verify(what: string, holds: boolean): void {
  if (!holds) throw new Error(`this should hold and does not: ${what}`);
  checked.push(what);
}

try {
  const { values } = readOptions(demoTable, process.argv.slice(2), {});
  await demo(AbortSignal.timeout(limitMs));
  if (values.check) console.log(`\nVerified:\n${checked.map((what) => `  - ${what}`).join('\n')}`);
} catch (thrown) {
  console.error(`\nThe demo failed: ${describeError(thrown)}`);
  process.exitCode = 1;
}

async function demo(signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-demo-'));
  try {
    console.log('A hub and a cluster in one process, on loopback.\n');
    await using world = await startWorld(folder, signal);
    const front = world.frontAddresses[0]!;
    await using client = new KonnectivityClient({ address: front });
    console.log(`  broker    ${world.brokerUrl}, wants an enrolment token`);
    console.log(`  agent     connected to it with a token for cluster "${cluster}"`);
    console.log(`  bridge    ${front}, speaks konnectivity (gRPC) in the broker's process`);
    console.log(
      `  gateway   ${world.gatewayUrl}/${cluster}, speaks HTTP to clients such as kubectl`,
    );
    console.log(
      `  service   http://${world.target.host}:${world.target.port}/, which only the agent is told about`,
    );
    await showRequest(world, client, signal);
    await showGateway(world, signal);
    await showRefusals(world, client, signal);
    await showSpeed(client, signal);
    showNext();
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function startWorld(folder: string, signal: AbortSignal): Promise<LocalWorld> {
  const { publicKeyPem, privateKeyPem } = await generateTokenKeyPair();
  const token = await issueToken(privateKeyPem, { kind: 'agent', cluster }, 3_600_000);
  const [publicKeyFile, tokenFile] = [join(folder, 'token.pub'), join(folder, 'agent.token')];
  await writeFile(publicKeyFile, publicKeyPem);
  await writeFile(tokenFile, token.reveal(), { mode: 0o600 });
  return await startLocalWorld(
    {
      cluster,
      brokerFlags: [
        '--listen=127.0.0.1:0',
        '--konnectivity-listen=127.0.0.1:0',
        '--gateway-listen=127.0.0.1:0',
        `--token-public-key=${publicKeyFile}`,
      ],
      agentFlags: [`--token-file=${tokenFile}`],
      log: createPinoLogger({ level: 'error' }),
    },
    signal,
  );
}

async function showRequest(
  { frontAddresses, target }: LocalWorld,
  client: KonnectivityClient,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  const answer = await send(await client.dial(`${cluster}:80`, { signal }), {}, signal);
  const body = await textOf(answer);
  const tookMs = performance.now() - startedAt;
  verify('a request through the front door is answered by the service', body === sampleGreeting);
  console.log(`
GET http://${cluster}/ through the front door:

  konnectivity client  -- gRPC -->       bridge at ${frontAddresses[0]}
  bridge, broker       -- WebSocket -->  the agent of "${cluster}", over the connection it made itself
  agent                -- TCP -->        ${target.host}:${target.port}, because "${cluster}" means this address to the agent
  and back:            ${answer.statusCode}, "${body.trim()}" after ${tookMs.toFixed(1)} ms`);
}

async function showGateway({ gatewayUrl }: LocalWorld, signal: AbortSignal): Promise<void> {
  const url = `${gatewayUrl}/${cluster}`;
  const answer = await fetch(`${url}/`, { signal });
  verify(
    'a request to the gateway is answered by the service',
    (await answer.text()) === sampleGreeting,
  );
  const unknown = await fetch(`${gatewayUrl}/elsewhere/version`, { signal });
  const { kind, message } = (await unknown.json()) as { kind: string; message: string };
  verify('the gateway answers with a Status object', kind === 'Status' && unknown.status === 503);
  console.log(`
HTTP clients have one URL for each cluster, and the agent makes their requests:

  curl ${url}/
  kubectl --server=${url} get --raw /     ${answer.status}, the same answer over TLS to the service
  a cluster without agents                 ${unknown.status}, "${message}"`);
}

async function showRefusals(
  { brokerUrl }: LocalWorld,
  client: KonnectivityClient,
  signal: AbortSignal,
): Promise<void> {
  const refusalOf = async (address: string): Promise<string> => {
    const connection = await client
      .dial(address, { signal })
      .catch((error: Error) => error.message);
    return typeof connection === 'string' ? connection : 'connected';
  };
  const unlisted = await refusalOf(`db.prod.svc.${cluster}:5432`);
  const unknown = await refusalOf('elsewhere:443');
  const anonymous = await fetch(`${brokerUrl.replace('ws', 'http')}/v1/status`, { signal });
  verify('a destination that the agent does not allow is refused', unlisted.includes('forbidden'));
  verify('a cluster without agents is refused', unknown === 'No agent available');
  verify('a caller without a token gets 401', anonymous.status === 401);
  console.log(`
Refused dials, and their messages:

  db.prod.svc.${cluster}:5432    ${unlisted}
  elsewhere:443            ${unknown}
  no token                 the broker answers ${anonymous.status}`);
}

async function showSpeed(client: KonnectivityClient, signal: AbortSignal): Promise<void> {
  const { dialMs, roundTripMs, downMBs, upMBs, megabytes, exact } = await measure(
    () => client.dial(`${cluster}:80`, { signal }),
    signal,
  );
  verify('as many bytes arrive as were sent, both ways', exact);
  console.log(`
How fast, with client, broker, agent and service sharing one process (npm run bench measures it properly):

  dial         ${dialMs.toFixed(2)} ms (median)
  round trip   ${roundTripMs.toFixed(2)} ms (median, HTTP request and answer)
  down         ${downMBs.toFixed(0)} MB/s over ${megabytes} MB
  up           ${upMBs.toFixed(0)} MB/s over ${megabytes} MB`);
}

function showNext(): void {
  console.log(`
Try next:

  npm run culvert -- dev            the same, and it stays up for your own konnectivity client
  npm run culvert -- token keygen   the first step towards two machines; each command prints the next step
  npm run culvert -- agent --help   the options of an agent
  npm test                          the real Go client against it, where Go is installed`);
}
