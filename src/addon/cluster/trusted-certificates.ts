import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import { describeError } from '../../base/error.ts';
import { pemBlocks, pemOf } from '../../base/x509/pem-blocks.ts';
import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import type { Diagnostics } from '../api/diagnostics.ts';

/**
 * The CAs that the agent trusts, in PEM: those of the addon and, behind a proxy, those of the
 * proxy. The latter apply to a proxy that is reached over TLS, and to the entrypoint, because a
 * proxy that inspects TLS shows its own certificate for the broker's name.
 *
 * @param isDirect whether agents connect to an entrypoint. Otherwise they connect through the hub's
 *   kube-apiserver, whose CAs are in the kubeconfig from the klusterlet
 */
export function trustedCertificates(
  caBundle: string,
  config: AddOnDeploymentConfig | undefined,
  isDirect: boolean,
  diagnostics: Diagnostics,
): string {
  if (config === undefined || config.proxyConfig.caBundle === '') return caBundle;
  const { httpProxy, httpsProxy } = config.proxyConfig;
  const where = `${describeDeploymentConfig(config)}: spec.proxyConfig.caBundle`;
  const useless = uselessBecause(httpProxy, httpsProxy, isDirect);
  if (useless !== undefined) {
    diagnostics.notices.push(`${where} has no effect, ${useless}`);
    return caBundle;
  }
  const given = Buffer.from(config.proxyConfig.caBundle, 'base64').toString('utf8');
  try {
    const blocks = [caBundle, readCaCertificates(given, 'servers')].flatMap(pemBlocks);
    return [...new Set(blocks.map(({ label, der }) => pemOf(label, der)))].join('');
  } catch (thrown) {
    diagnostics.problems.push(
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
