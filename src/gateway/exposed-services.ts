import { isDnsLabel } from '../base/names/cluster-name.ts';
import { ValueError } from '../base/value-error.ts';

/** A Service that clients reach by the path of the gateway. */
export interface ExposedService {
  readonly namespace: string;
  readonly service: string;
  /** A number or a name, exactly as in the URL. Undefined: every port. */
  readonly port?: string | undefined;
  /** Undefined: both. */
  readonly protocol?: 'http' | 'https' | undefined;
  /** The clusters in which the Service is exposed. Undefined: all. */
  readonly clusters?: readonly string[] | undefined;
  /**
   * Whether a token of the hub cluster or of an OIDC provider reaches the Service (default: the
   * gateway removes it). Tokens of the managed cluster always do.
   */
  readonly hubTokens?: boolean | undefined;
}

/** A Service in a cluster, as a URL names it. */
export interface RequestedService {
  readonly cluster: string;
  readonly scheme: 'http' | 'https';
  readonly namespace: string;
  readonly name: string;
  readonly port: string;
}

/** The Services of all keys of upstream's ConfigMap. An empty list allows nothing. */
export class ExposedServices {
  readonly size: number;
  readonly #byName = new Map<string, ExposedService[]>();

  constructor(services: readonly ExposedService[]) {
    this.size = services.length;
    for (const service of services) {
      const key = `${service.namespace}/${service.service}`;
      const same = this.#byName.get(key);
      if (same === undefined) this.#byName.set(key, [service]);
      else same.push(service);
    }
  }

  /**
   * The entries that allow a Service; none: it is not exposed.
   */
  find({ cluster, scheme, namespace, name, port }: RequestedService): readonly ExposedService[] {
    const entries = this.#byName.get(`${namespace}/${name}`) ?? [];
    return entries.filter(
      (entry) =>
        (entry.port === undefined || entry.port === port) &&
        (entry.protocol === undefined || entry.protocol === scheme) &&
        (entry.clusters === undefined || entry.clusters.includes(cluster)),
    );
  }
}

const fields: ReadonlySet<string> = new Set([
  'namespace',
  'service',
  'port',
  'protocol',
  'clusters',
  'hubTokens',
]);

/**
 * Reads lists of Services: the data of the ConfigMap, with any names of keys. An error in one list
 * makes all unusable, as upstream does.
 *
 * @param parseYaml refuses duplicate keys, and returns undefined or null for an empty text
 * @throws ValueError names the key, the entry and the problem
 */
export function parseExposedServices(
  lists: Readonly<Record<string, string>>,
  parseYaml: (text: string) => unknown,
): ExposedServices {
  const services: ExposedService[] = [];
  for (const [key, text] of Object.entries(lists)) {
    try {
      services.push(...parseList(parseYaml(text)));
    } catch (thrown) {
      const problem = thrown instanceof Error ? thrown.message : String(thrown);
      throw new ValueError(`key "${key}": ${problem}`, { withoutText: true });
    }
  }
  return new ExposedServices(services);
}

function parseList(list: unknown): readonly ExposedService[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new ValueError('is not a list of Services');
  return list.map((entry: unknown, index) => {
    try {
      return parseEntry(entry);
    } catch (thrown) {
      if (!(thrown instanceof ValueError)) throw thrown;
      throw new ValueError(`entry[${index}]: ${thrown.message}`);
    }
  });
}

function parseEntry(entry: unknown): ExposedService {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    throw new ValueError('is not an object');
  }
  const given = entry as Record<string, unknown>;
  const unknown = Object.keys(given).find((name) => !fields.has(name));
  if (unknown !== undefined) throw new ValueError(`has an unknown field "${unknown}"`);
  const { clusters, hubTokens } = given;
  const protocol = textOf(given, 'protocol');
  if (protocol !== undefined && protocol !== 'http' && protocol !== 'https') {
    throw new ValueError('protocol must be http or https');
  }
  if (hubTokens !== undefined && typeof hubTokens !== 'boolean') {
    throw new ValueError('hubTokens must be true or false');
  }
  return {
    namespace: requiredText(given, 'namespace'),
    service: requiredText(given, 'service'),
    port: textOf(given, 'port'),
    protocol,
    clusters: clusters === undefined || clusters === null ? undefined : readClusters(clusters),
    hubTokens,
  };
}

function readClusters(clusters: unknown): readonly string[] {
  const isNames = (list: unknown): list is string[] =>
    Array.isArray(list) && list.every((name) => typeof name === 'string' && isDnsLabel(name));
  if (isNames(clusters)) return clusters;
  throw new ValueError('clusters must be a list of names of clusters');
}

function requiredText(entry: Record<string, unknown>, field: string): string {
  const text = textOf(entry, field);
  if (text === undefined) throw new ValueError(`${field} is required`);
  return text;
}

/** A text. A port may be a number in the YAML. An empty text counts as not given. */
function textOf(entry: Record<string, unknown>, field: string): string | undefined {
  const value = entry[field];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string') return value;
  if (field === 'port' && typeof value === 'number' && Number.isSafeInteger(value)) {
    return String(value);
  }
  throw new ValueError(`${field} must be a text`);
}
