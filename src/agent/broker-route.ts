import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { credentialHeader } from '../base/tokens/certificate-token.ts';
import type { ServerRoute } from '../base/net/server-route.ts';
import type { LastGoodCa } from '../base/tls/last-good-ca.ts';
import type { Secret } from '../base/secret.ts';
import type { KubeConfig } from '../kube/client/kube-endpoint.ts';
import type { AgentOptions, HubService } from './options.ts';
import {
  readRegistration,
  type Registration,
  type RegistrationFiles,
  registrationFilesIn,
} from './registration.ts';

/**
 * Reads every file again for each route, because certificates, tokens and kubeconfigs are replaced
 * while agents run.
 */
export class BrokerRoutes {
  readonly #options: AgentOptions;
  readonly #hub: KubeConfig | undefined;
  readonly #ca: LastGoodCa;
  readonly #now: () => Date;

  /**
   * @param hub the contents of `hubKubeconfig`
   * @param ca the contents of `caFile`
   * @param now the time that tokens are made for
   */
  constructor(options: AgentOptions, hub: KubeConfig | undefined, ca: LastGoodCa, now: () => Date) {
    this.#options = options;
    this.#ca = ca;
    this.#hub = hub;
    this.#now = now;
  }

  /**
   * @throws RegistrationError, KubeError `bad_config`, or an Error that names the file that cannot
   *   be read
   */
  async next(): Promise<ServerRoute> {
    const { brokerViaHub } = this.#options;
    const files = this.#registrationFiles();
    const registration = files === undefined ? undefined : await readRegistration(files);
    const headers = await this.#credentials(registration);
    return brokerViaHub === undefined
      ? await this.#direct(headers, registration)
      : await this.#viaHub(brokerViaHub, headers);
  }

  #registrationFiles(): RegistrationFiles | undefined {
    const {
      certificateDir,
      certificateFile: certFile,
      certificateKeyFile: keyFile,
    } = this.#options;
    if (certificateDir !== undefined) return registrationFilesIn(certificateDir);
    return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
  }

  /** The API server refused the credential, so its kubeconfig is read again whatever its age. */
  refused(): void {
    this.#hub?.expire();
  }

  /** A hash of the present token and certificate, to notice that one of them was replaced. */
  async credentialId(): Promise<string> {
    const files = this.#registrationFiles();
    const parts = await Promise.allSettled([
      this.#options.readToken().then((token) => token?.reveal()),
      files && readFile(files.certFile, 'utf8'),
    ]);
    // A file that is missing or empty while it is replaced counts as another credential.
    const texts = parts.map((part) => (part.status === 'fulfilled' ? part.value : undefined));
    return createHash('sha256').update(JSON.stringify(texts)).digest('hex');
  }

  async #direct(
    headers: Record<string, string>,
    registration: Registration | undefined,
  ): Promise<ServerRoute> {
    const { brokerUrl, serverName, hostHeader, proxies } = this.#options;
    const url = under(brokerUrl!, 'v1/agent');
    const token = await this.#options.readToken();
    const forGateways = await this.#options.readHeaders?.();
    return {
      url,
      headers: { ...forGateways, ...headers, ...authorization('Authorization', token) },
      ca: await this.#givenCa(),
      clientCertificate: registration?.certificate,
      serverName,
      hostHeader,
      proxies,
    };
  }

  /**
   * Through the API server's service proxy. It eats Authorization once it knows us; our own header
   * passes.
   */
  async #viaHub(
    { namespace, service }: HubService,
    headers: Record<string, string>,
  ): Promise<ServerRoute> {
    const { server, ca, serverName, verify, certificate, token, proxy } =
      await this.#hub!.endpoint();
    const base = new URL(server);
    base.protocol = server.protocol === 'http:' ? 'ws:' : 'wss:';
    const url = under(base, `api/v1/namespaces/${namespace}/services/${service}/proxy/v1/agent`);
    return {
      url,
      headers: { ...headers, ...authorization('Authorization', token) },
      ca,
      proxyCa: await this.#givenCa(),
      trust: verify ? (ca === undefined ? 'with-well-known' : 'ca-only') : 'anyone',
      clientCertificate: certificate,
      serverName,
      proxy,
      proxies: this.#options.proxies,
    };
  }

  async #givenCa(): Promise<string | undefined> {
    const { caFile } = this.#options;
    return caFile === undefined ? undefined : await this.#ca.readFile(caFile);
  }

  /** The certificate's key signs for us; without one, the token that the hub gave us. */
  async #credentials(registration: Registration | undefined): Promise<Record<string, string>> {
    if (registration !== undefined) {
      const token = await registration.makeToken(this.#options.cluster, this.#now());
      return authorization(credentialHeader, token);
    }
    const token = this.#hub === undefined ? undefined : (await this.#hub.endpoint()).token;
    return authorization(credentialHeader, token);
  }
}

function authorization(header: string, token: Secret | undefined): Record<string, string> {
  return token === undefined ? {} : { [header]: `Bearer ${token.reveal()}` };
}

function under(base: URL, path: string): URL {
  return new URL(path, base.href.replace(/\/?$/, '/'));
}
