import { Policy } from '../../access/policy.ts';
import { parseYaml } from '../../kube/client/parse-yaml.ts';
import { type EdgeVariables, parseBoolean } from './edge-variables.ts';

/** The hub cluster's API server, which the runtime reaches by `fetch`. */
export interface HubServer {
  readonly url: URL;
  readonly token: string;
}

/** The rules for all clients of the Worker: dialers and HTTP clients. */
export interface EdgeAccessOptions {
  /** A policy document, which is valid; undefined: each client may do everything. */
  readonly policy: unknown;
  /** Knows labels of clusters, and its own tokens. */
  readonly hub: HubServer | undefined;
  /** The hub cluster's RBAC decides as well. */
  readonly asksHubAccess: boolean;
}

export const accessVariables = {
  policy: 'CULVERT_POLICY',
  hubUrl: 'CULVERT_HUB_API_SERVER',
  hubToken: 'CULVERT_HUB_API_TOKEN',
  accessReview: 'CULVERT_SUBJECT_ACCESS_REVIEW',
} as const;

const labelsProblem = `without ${accessVariables.hubUrl} the Worker knows no labels`;

/** Notes problems in `given`. */
export function readAccessOptions(given: EdgeVariables): EdgeAccessOptions {
  const hub = readHub(given);
  const asksHubAccess = given.read(accessVariables.accessReview, false, parseBoolean);
  if (asksHubAccess && hub === undefined) {
    given.problem(`${accessVariables.accessReview} needs ${accessVariables.hubUrl} as well`);
  }
  const policy = given.readDocument(accessVariables.policy, (text): unknown => {
    const document = parseYaml(text);
    Policy.parse(document, given.has(accessVariables.hubUrl) ? {} : { labelsProblem });
    return document;
  });
  return { policy, hub, asksHubAccess };
}

function readHub(given: EdgeVariables): HubServer | undefined {
  const url = given.read<URL | undefined>(accessVariables.hubUrl, undefined, parseServerUrl);
  const token = given.read(accessVariables.hubToken, '', (text) => text.trim());
  if ((url === undefined) !== (token === '')) {
    given.problem(`${accessVariables.hubUrl} and ${accessVariables.hubToken} must be set together`);
  }
  return url === undefined ? undefined : { url, token };
}

/** https, because the token goes there; plain HTTP on this machine is for tests. */
function parseServerUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || url.search !== '' || url.username !== '') return undefined;
  const isLocal = url.protocol === 'http:' && url.hostname === '127.0.0.1';
  return url.protocol === 'https:' || isLocal ? url : undefined;
}
