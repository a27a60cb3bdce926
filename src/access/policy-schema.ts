import { AccessError } from './access-error.ts';

/** A policy as its file has it. Each list is a list of alternatives. */
export interface PolicyDocument {
  readonly rules: readonly RuleDocument[];
  readonly revoked?: RevokedDocument;
}

export interface RuleDocument {
  readonly name: string;
  readonly subjects: SubjectsDocument;
  readonly clusters: { readonly names?: readonly string[]; readonly selector?: string };
  readonly allow: readonly AllowDocument[];
  /** The rule ends at this time (RFC 3339). */
  readonly until?: string;
}

export interface SubjectsDocument {
  /** Users of the hub cluster, of managed clusters and of the OIDC issuer. */
  readonly users?: readonly string[];
  /** Groups of these users. */
  readonly groups?: readonly string[];
  /** Common names of client certificates. */
  readonly certificates?: readonly string[];
  /** Organizations of client certificates. */
  readonly organizations?: readonly string[];
  /** Names of dialer tokens. */
  readonly tokens?: readonly string[];
  /** Clients of listeners that ask for no credential. */
  readonly anonymous?: boolean;
}

export interface AllowDocument {
  readonly all?: boolean;
  readonly sessions?: boolean;
  readonly kube?: {
    readonly verbs: readonly string[];
    readonly apiGroups?: readonly string[];
    readonly resources: readonly string[];
    readonly namespaces?: readonly string[];
    readonly names?: readonly string[];
  };
  readonly paths?: { readonly verbs: readonly string[]; readonly paths: readonly string[] };
  readonly services?: {
    readonly namespaces: readonly string[];
    readonly names: readonly string[];
    readonly ports?: readonly string[];
    readonly schemes?: readonly string[];
  };
  readonly tcp?: { readonly hosts: readonly string[]; readonly ports?: readonly string[] };
}

export interface RevokedDocument {
  readonly tokens?: readonly string[];
  readonly certificates?: readonly { readonly serial: string; readonly issuer: string }[];
}

type Check = (value: unknown, at: string) => void;

const text: Check = (value, at) => {
  if (typeof value !== 'string' || value === '') throw bad(at, 'must be a text');
};
const flag: Check = (value, at) => {
  if (value !== true) throw bad(at, 'must be true, or be left out');
};
const listOf =
  (item: Check): Check =>
  (value, at) => {
    if (!Array.isArray(value) || value.length === 0) throw bad(at, 'must be a list with entries');
    value.forEach((entry: unknown, index) => item(entry, `${at}[${index}]`));
  };
const texts = listOf(text);
/** The core API group has an empty name. */
const groupNames = listOf((value, at) => {
  if (typeof value !== 'string') throw bad(at, 'must be a text');
});
const ports = listOf((value, at) => {
  if (typeof value === 'number' ? !Number.isInteger(value) : typeof value !== 'string') {
    throw bad(at, 'must be a port');
  }
});

/** An object with these fields and no others. @param required the fields that must be there */
const objectOf =
  (fields: Readonly<Record<string, Check>>, required: readonly string[] = []): Check =>
  (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw bad(at, 'must be a map');
    }
    for (const [name, entry] of Object.entries(value)) {
      const check = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (check === undefined) {
        throw bad(`${at}.${name}`, `is not known, use ${Object.keys(fields).join(', ')}`);
      }
      check(entry, `${at}.${name}`);
    }
    for (const name of required) {
      if (!Object.hasOwn(value, name)) throw bad(at, `needs ${name}`);
    }
  };

/** An object that has at least one of its fields, because an empty one would allow nothing. */
const someOf =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value, at) => {
    objectOf(fields)(value, at);
    if (Object.keys(value as object).length === 0) {
      throw bad(at, `needs one of ${Object.keys(fields).join(', ')}`);
    }
  };

const allow = someOf({
  all: flag,
  sessions: flag,
  kube: objectOf(
    { verbs: texts, apiGroups: groupNames, resources: texts, namespaces: texts, names: texts },
    ['verbs', 'resources'],
  ),
  paths: objectOf({ verbs: texts, paths: texts }, ['verbs', 'paths']),
  services: objectOf({ namespaces: texts, names: texts, ports, schemes: texts }, [
    'namespaces',
    'names',
  ]),
  tcp: objectOf({ hosts: texts, ports }, ['hosts']),
});

const rule = objectOf(
  {
    name: text,
    subjects: someOf({
      users: texts,
      groups: texts,
      certificates: texts,
      organizations: texts,
      tokens: texts,
      anonymous: flag,
    }),
    clusters: someOf({ names: texts, selector: text }),
    allow: listOf(allow),
    until: text,
  },
  ['name', 'subjects', 'clusters', 'allow'],
);

const document = objectOf(
  {
    rules: (value, at) => {
      if (!Array.isArray(value)) throw bad(at, 'must be a list');
      value.forEach((entry: unknown, index) => rule(entry, `${at}[${index}]`));
    },
    revoked: someOf({
      tokens: texts,
      certificates: listOf(objectOf({ serial: text, issuer: text }, ['serial', 'issuer'])),
    }),
  },
  ['rules'],
);

/** Checks the contents of a policy file strictly. @throws AccessError `bad_policy` */
export function checkPolicyDocument(value: unknown): PolicyDocument {
  document(value, 'policy');
  return value as PolicyDocument;
}

function bad(at: string, problem: string): AccessError {
  return new AccessError('bad_policy', `${at} ${problem}`);
}
