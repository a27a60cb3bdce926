import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import { describeError } from '../../base/error.ts';
import { pemBlocks, pemOf } from '../../base/x509/pem-blocks.ts';
import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import type { Findings } from '../api/diagnostics.ts';

/**
 * What the agent trusts (PEM): the addon's own authorities and, where the way to the hub leads through a proxy, the authorities of that
 * proxy. They count for a proxy that is itself reached over TLS, and for the certificate of the entrypoint: a proxy that inspects TLS
 * shows one of its own in the name of the broker.
 *
 * @param isDirect whether agents connect to an entrypoint; else they go through the hub's kube-apiserver, whose authorities are in the
 *   kubeconfig that the klusterlet makes
 */
export function trustedCertificates(
  caBundle: string,
  config: AddOnDeploymentConfig | undefined,
  isDirect: boolean,
  findings: Findings,
): string {
  if (config === undefined || config.proxyConfig.caBundle === '') return caBundle;
  const { httpProxy, httpsProxy } = config.proxyConfig;
  const where = `${describeDeploymentConfig(config)}: spec.proxyConfig.caBundle`;
  const useless = uselessBecause(httpProxy, httpsProxy, isDirect);
  if (useless !== undefined) {
    findings.notices.push(`${where} has no effect, ${useless}`);
    return caBundle;
  }
  const given = Buffer.from(config.proxyConfig.caBundle, 'base64').toString('utf8');
  try {
    const blocks = [caBundle, readCaCertificates(given, 'servers')].flatMap(pemBlocks);
    return [...new Set(blocks.map(({ label, der }) => pemOf(label, der)))].join('');
  } catch (thrown) {
    findings.problems.push(
      `${where} cannot be used: ${describeError(thrown)}; encode it as base64 once`,
    );
    return caBundle;
  }
}

function uselessBecause(
  httpProxy: string,
  httpsProxy: string,
  isDirect: boolean,
): string | undefined {
  if ([httpProxy, httpsProxy].some((url) => /^https:/i.test(url))) return undefined;
  // wss:// goes through httpsProxy alone.
  if (httpsProxy === '') return 'there is no httpsProxy';
  if (isDirect) return undefined;
  return "agents go through the hub's kube-apiserver, and trust it by the kubeconfig of the klusterlet; give the klusterlet this CA";
}
