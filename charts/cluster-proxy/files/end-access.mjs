// The hook of `helm uninstall` for ClusterProfiles: deletes the ManagedProxyConfiguration while the manager still runs, because
// only the manager removes its access providers. It waits for the end of the providers, and never makes the removal fail.
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const {
  RELEASE_NAMESPACE,
  TIMEOUT_SECONDS = '30',
  SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount',
  KUBERNETES_SERVICE_HOST,
  KUBERNETES_SERVICE_PORT,
} = process.env;
const configuration =
  '/apis/proxy.open-cluster-management.io/v1alpha1/managedproxyconfigurations/cluster-proxy';
const profiles = '/apis/multicluster.x-k8s.io/v1alpha1/clusterprofiles';
const timeoutMs = Number(TIMEOUT_SECONDS) * 1000;
const pollMs = 500;

const endMs = Date.now() + timeoutMs;
for (;;) {
  const problem = await problemNow().catch((error) => error.message);
  if (problem === undefined) break;
  if (Date.now() > endMs) {
    process.stdout.write(`access providers may be left in ClusterProfiles: ${problem}\n`);
    break;
  }
  await sleep(pollMs);
}

/** Undefined: no access provider of the release is left. */
async function problemNow() {
  // The rights of the hook may be some milliseconds old.
  const deleted = await call('DELETE', configuration);
  if (deleted.status !== 200 && deleted.status !== 404) return deleted.body.message;
  const { status, body } = await call('GET', profiles);
  if (status === 404) return undefined;
  if (status !== 200) return body.message;
  const left = body.items.filter(({ status: { accessProviders = [] } = {} }) =>
    accessProviders.some(isOurs),
  );
  const names = left.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  return names.length === 0 ? undefined : names.join(', ');
}

function isOurs({ name, cluster }) {
  const server = `https://cluster-proxy-addon-user.${RELEASE_NAMESPACE}:`;
  return name === 'open-cluster-management' && cluster?.server?.startsWith(server) === true;
}

async function call(method, path) {
  const file = (name) => readFileSync(join(SERVICE_ACCOUNT, name), 'utf8');
  const response = await new Promise((resolve, reject) => {
    const options = {
      method,
      host: KUBERNETES_SERVICE_HOST,
      port: KUBERNETES_SERVICE_PORT,
      path,
      ca: file('ca.crt'),
      headers: { authorization: `Bearer ${file('token')}`, accept: 'application/json' },
      signal: AbortSignal.timeout(timeoutMs),
    };
    request(options, resolve).on('error', reject).end();
  });
  // The answer for an unknown kind is no JSON.
  return { status: response.statusCode, body: await json(response).catch(() => ({})) };
}
