import { describeError } from '../../base/error.ts';
import { readSecretFile } from '../../base/files/secret-file.ts';
import { Secret } from '../../base/secret.ts';
import type { KubeApi } from '../client/kube-api.ts';
import { isKubeError } from '../client/kube-error.ts';
import type { KubeObject } from '../client/kube-object.ts';
import { CredentialError } from './credential-error.ts';

/** A bearer token for a cluster. */
export interface BearerToken {
  readonly token: Secret;
  /** When the token expires. Undefined: it does not expire, or nobody knows. */
  readonly expiresAt: Date | undefined;
}

const { signal } = new AbortController();

/** Reads a file that another program writes. @throws CredentialError */
export async function tokenFromFile(path: string): Promise<BearerToken> {
  try {
    const token = await readSecretFile(path);
    return { token, expiresAt: jwtExpiry(token) };
  } catch (thrown) {
    throw new CredentialError(`the token file ${path} cannot be used: ${describeError(thrown)}`, {
      cause: thrown,
    });
  }
}

export interface TokenRequestOptions {
  readonly namespace: string;
  readonly name: string;
  /** Empty: the audience of the API server. */
  readonly audiences: readonly string[];
  readonly ttlMs: number;
}

/** Asks the hub for a token of a ServiceAccount. @throws KubeError, CredentialError */
export async function tokenOfServiceAccount(
  hub: KubeApi,
  { namespace, name, audiences, ttlMs }: TokenRequestOptions,
): Promise<BearerToken> {
  const { status } = await hub.createSubresource<TokenRequest>(
    { apiVersion: 'v1', kind: 'ServiceAccount', namespace, name },
    'token',
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        ...(audiences.length > 0 && { audiences }),
        expirationSeconds: Math.ceil(ttlMs / 1000),
      },
    },
    { signal },
  );
  if (!status?.token) {
    throw new CredentialError(`the hub issued no token for ServiceAccount ${namespace}/${name}`);
  }
  const expiresAt =
    status.expirationTimestamp === undefined ? undefined : new Date(status.expirationTimestamp);
  return { token: new Secret(status.token), expiresAt };
}

interface TokenRequest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: KubeObject['metadata'];
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
  readonly [field: string]: unknown;
}

interface SecretObject extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | null;
}

/**
 * Reads the Secret with the token of a ManagedServiceAccount. The add-on managed-serviceaccount
 * writes it to the cluster's namespace on the hub. OCM can copy it to the namespace of a
 * ClusterProfile.
 *
 * @throws KubeError, CredentialError
 */
export async function tokenOfSecret(
  hub: KubeApi,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<BearerToken> {
  let secret: SecretObject;
  try {
    const ref = { apiVersion: 'v1', kind: 'Secret', namespace, name };
    secret = await hub.get<SecretObject>(ref, { signal });
  } catch (thrown) {
    if (!isKubeError(thrown, 'not_found')) throw thrown;
    throw new CredentialError(
      `there is no Secret ${namespace}/${name} on the hub; is there a ManagedServiceAccount, and has its cluster the add-on managed-serviceaccount?`,
      { cause: thrown },
    );
  }
  const data = secret.data?.['token'];
  const text = data === undefined ? '' : Buffer.from(data, 'base64').toString('utf8').trim();
  if (text === '') {
    throw new CredentialError(`the Secret ${namespace}/${name} on the hub has no token yet`);
  }
  const token = new Secret(text);
  return { token, expiresAt: jwtExpiry(token) };
}

/** The claim `exp` of a token, which nobody verifies here. Undefined for a token without one. */
function jwtExpiry(token: Secret): Date | undefined {
  const payload = token.reveal().split('.')[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
      readonly exp?: unknown;
    } | null;
    return typeof claims?.exp === 'number' ? new Date(claims.exp * 1000) : undefined;
  } catch {
    return undefined;
  }
}
