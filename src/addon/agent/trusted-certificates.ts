import { X509Certificate } from 'node:crypto';
import { describeError } from '../../base/error.ts';
import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import type { Findings } from './findings.ts';

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
  const pem = Buffer.from(config.proxyConfig.caBundle, 'base64').toString('latin1');
  const blocks = certificateBlocks(pem);
  if (blocks.length === 0) {
    findings.problems.push(
      `${where} holds no certificate; put PEM certificates there, encoded as base64 once`,
    );
  }
  for (const [index, block] of blocks.entries()) {
    try {
      // Reading it is the check.
      void new X509Certificate(block);
    } catch (thrown) {
      const reason = describeError(thrown);
      findings.problems.push(
        `${where}: certificate ${index + 1} of ${blocks.length} cannot be read (${reason}); correct it or take it away`,
      );
    }
  }
  const own = certificateBlocks(caBundle);
  return [...new Set([...own, ...blocks])].map((block) => `${block}\n`).join('');
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

/** The certificates of a PEM text, without what stands around them: each from BEGIN to END. */
function certificateBlocks(pem: string): readonly string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => block.replaceAll('\r', ''));
}
