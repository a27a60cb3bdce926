// Sends one HTTP request to a Service in a managed cluster, through a broker, with the TypeScript
// dialer. README.md has the commands.
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import {
  connect,
  createRemoteDialer,
  readProxyEnvironment,
  readSecretFile,
  silentLogger,
  type Target,
} from '../../src/exports/dialer.ts';

const { values } = parseArgs({
  options: {
    'broker-url': { type: 'string', default: 'ws://127.0.0.1:8080' },
    'token-file': { type: 'string' },
    'ca-file': { type: 'string' },
    cluster: { type: 'string', default: 'dev' },
    host: { type: 'string' },
    port: { type: 'string', default: '80' },
    path: { type: 'string', default: '/' },
  },
});
const { cluster, path, 'token-file': tokenFile } = values;

const dialer = createRemoteDialer({
  brokerUrl: new URL(values['broker-url']),
  // The dialer reads the token for each connection, so a rotated file needs no restart.
  readToken: async () => (tokenFile === undefined ? undefined : readSecretFile(tokenFile)),
  caFile: values['ca-file'],
  serverName: undefined,
  hostHeader: undefined,
  proxies: readProxyEnvironment(process.env),
  log: silentLogger,
});

try {
  // The name of the cluster means its kube-apiserver. Another host must be in the agent's
  // `--allow`.
  const target: Target = { kind: 'tcp', host: values.host ?? cluster, port: Number(values.port) };
  const request = `GET ${path} HTTP/1.1\r\nHost: ${target.host}\r\nConnection: close\r\n\r\n`;
  const stream = await connect(dialer, { cluster, target, signal: AbortSignal.timeout(10_000) });
  // The target sees the end of the request. It can still answer.
  stream.end(request);
  process.stdout.write(await text(stream));
} catch (error) {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
} finally {
  await dialer.drain(AbortSignal.timeout(1000));
}
