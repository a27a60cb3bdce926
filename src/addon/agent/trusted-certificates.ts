import { readCaCertificates } from '../../base/ca-certificates.ts';
import { describeError } from '../../base/error.ts';
import { pemBlocks, pemOf } from '../../base/x509/pem-blocks.ts';
import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import type { Findings } from './findings.ts';

/**
 * What the agent trusts (PEM): the addon's own authorities and, where the way to the hub leads through a proxy that is itself reached
 * over TLS, the authorities of that proxy.
 */
export function trustedCertificates(
  caBundle: string,
  config: AddOnDeploymentConfig | undefined,
  findings: Findings,
): string {
  if (config === undefined || config.proxyConfig.caBundle === '') return caBundle;
  const { httpProxy, httpsProxy } = config.proxyConfig;
  const isOverTls = [httpProxy, httpsProxy].some((url) => /^https:/i.test(url));
  const where = `${describeDeploymentConfig(config)}: spec.proxyConfig.caBundle`;
  if (!isOverTls) {
    findings.notices.push(`${where} has no effect, neither proxy is reached by https://`);
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
