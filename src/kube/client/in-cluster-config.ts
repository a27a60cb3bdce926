import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import { readSecretFile } from '../../base/files/secret-file.ts';
import { X509Error } from '../../base/x509/reading.ts';
import type { KubeConfig } from './kube-endpoint.ts';
import { KubeError } from './kube-error.ts';
import { RereadingConfig, type RereadOptions } from './rereading-config.ts';

const what = "CA of the pod's ServiceAccount";
const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Reads the address of the API server from the pod's environment, and credentials from its
 * ServiceAccount's volume. The kubelet renews the token about every 50 minutes.
 *
 * @param env the process's environment
 */
export function inClusterConfig(
  env: Readonly<Record<string, string | undefined>>,
  options: RereadOptions & { readonly directory?: string } = {},
): KubeConfig {
  const { directory = serviceAccountDirectory, ca: lastGood = new LastGoodCa(what) } = options;
  return new RereadingConfig(async () => {
    const server = serverOf(env);
    try {
      const ca = await lastGood.readFile(join(directory, 'ca.crt'));
      const token = await readSecretFile(join(directory, 'token'));
      const namespace = (await readFile(join(directory, 'namespace'), 'utf8')).trim();
      const none = { serverName: undefined, certificate: undefined, proxy: undefined };
      return { server, ca, token, namespace, verify: true, ...none };
    } catch (cause) {
      if (cause instanceof X509Error) throw new KubeError('bad_config', cause.message, { cause });
      const message = `the pod's ServiceAccount cannot be read from ${directory}; set automountServiceAccountToken: true`;
      throw new KubeError('bad_config', message, { cause });
    }
  }, options);
}

function serverOf(env: Readonly<Record<string, string | undefined>>): URL {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  const url = URL.parse(`https://${isIPv6(host ?? '') ? `[${host}]` : host}:${port}`);
  if (host && port && url !== null) return url;
  const message = `KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name no API server; is this a pod? Outside of one give --kubeconfig`;
  throw new KubeError('bad_config', message);
}
