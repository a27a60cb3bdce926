import { type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import { AccessError } from './access-error.ts';
import type { Action } from './action.ts';
import { allowed, type Authorizer, denied, type Verdict } from './authorizer.ts';
import { type ClusterDirectory, clusterNameOf, noClusters } from './cluster-directory.ts';
import { nameOutsideHub } from './hub-user.ts';
import { type LabelSelector, parseLabelSelector } from './label-selector.ts';
import { anyOf, type NamePattern } from './name-pattern.ts';
import { allowedActions } from './policy-actions.ts';
import {
  checkPolicyDocument,
  type PolicyDocument,
  type RuleDocument,
  type SubjectsDocument,
} from './policy-schema.ts';
import type { CredentialId, Subject } from './subject.ts';

interface Rule {
  readonly name: string;
  readonly fitsSubject: (subject: Subject) => boolean;
  readonly fitsName: (cluster: string) => boolean;
  /** Undefined: the rule has no selector. */
  readonly fitsLabels: LabelSelector | undefined;
  readonly fitsAction: (action: Action) => boolean;
  readonly untilMs: number;
}

export interface PolicyParts {
  /** Default: no cluster is known, and selectors fit none. */
  readonly clusters?: ClusterDirectory;
  /**
   * Why the labels of clusters can never be known here, as the end of a sentence. Then a rule with a
   * selector is an error (default: they may be known).
   */
  readonly labelsProblem?: string | undefined;
  /** The time of day in milliseconds since 1970 (default: the system's). */
  readonly now?: () => number;
}

/** Rules that allow, and credentials that are revoked. Everything else is denied. */
export class Policy implements Authorizer {
  readonly #rules: readonly Rule[];
  readonly #revoked: ReadonlySet<string>;
  readonly #clusterNames: readonly string[];
  readonly #clusters: ClusterDirectory;
  readonly #now: () => number;

  private constructor(document: PolicyDocument, { clusters, now }: PolicyParts) {
    this.#rules = document.rules.map(parseRule);
    this.#clusters = clusters ?? noClusters;
    this.#now = now ?? Date.now;
    this.#clusterNames = document.rules.flatMap((rule) => rule.clusters.names ?? []);
    const { tokens = [], certificates = [] } = document.revoked ?? {};
    this.#revoked = new Set([
      ...tokens.map((id) => keyOf({ kind: 'token', id })),
      ...certificates.map((certificate) => keyOf({ kind: 'certificate', ...certificate })),
    ]);
  }

  /**
   * Reads the contents of a policy file.
   *
   * @throws AccessError `bad_policy` with the path of the field that is wrong; `labels_unknown` a
   *   rule has a selector, and there is a `labelsProblem`
   */
  static parse(document: unknown, parts: PolicyParts = {}): Policy {
    const checked = checkPolicyDocument(document);
    const { labelsProblem } = parts;
    const selecting = checked.rules.find(({ clusters }) => clusters.selector !== undefined);
    if (labelsProblem !== undefined && selecting !== undefined) {
      const problem = `rule ${selecting.name}: it selects clusters by labels, but ${labelsProblem}`;
      throw new AccessError('labels_unknown', problem);
    }
    return new Policy(checked, parts);
  }

  /** @throws AccessError `unavailable` a rule needs labels of the cluster that are not known now */
  authorize(subject: Subject, cluster: string, action: Action): MaybePromise<Verdict> {
    const invalid = this.#problemOf(subject);
    if (invalid !== undefined) return denied(invalid);
    const found = clusterNameOf(cluster, this.#clusters, this.#clusterNames);
    return whenKnown(found, (name) => this.#authorizeIn(name, subject, action));
  }

  #authorizeIn(name: string, subject: Subject, action: Action): MaybePromise<Verdict> {
    const rules = this.#rules.filter(
      (rule) => rule.untilMs > this.#now() && rule.fitsSubject(subject) && rule.fitsAction(action),
    );
    if (rules.some((rule) => rule.fitsName(name))) return allowed;
    return whenKnown(this.#areLabelsFit(rules, name), (areFit) =>
      areFit
        ? allowed
        : denied(
            `no rule of the policy allows ${describeSubject(subject)} to ${describeAction(action)} in cluster ${name}`,
          ),
    );
  }

  /** Whether the labels of the cluster fit a rule. They are looked up only if a rule needs them. */
  #areLabelsFit(rules: readonly Rule[], cluster: string): MaybePromise<boolean> {
    if (rules.every(({ fitsLabels }) => fitsLabels === undefined)) return false;
    return whenKnown(
      this.#clusters.labelsOf(cluster),
      (labels) =>
        labels !== undefined && rules.some(({ fitsLabels }) => fitsLabels?.(labels) === true),
    );
  }

  #problemOf({ credential, expiresAtMs = Infinity }: Subject): string | undefined {
    if (credential !== undefined && this.#revoked.has(keyOf(credential))) {
      return `the ${credential.kind} is revoked`;
    }
    return expiresAtMs <= this.#now() ? 'the credential has expired' : undefined;
  }
}

function parseRule(rule: RuleDocument): Rule {
  const { names, selector } = rule.clusters;
  const fitsName = anyOf(names ?? []);
  const fitsLabels = selector === undefined ? undefined : parseLabelSelector(selector);
  const actions = rule.allow.map(allowedActions);
  const untilMs = rule.until === undefined ? Infinity : Date.parse(rule.until);
  if (rule.until !== undefined && !/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[-+]\d\d:\d\d)$/.test(rule.until)) {
    throw new AccessError(
      'bad_policy',
      `rule ${rule.name}: until is no time such as 2027-01-31T12:00:00Z`,
    );
  }
  if (Number.isNaN(untilMs)) {
    throw new AccessError('bad_policy', `rule ${rule.name}: until is no time`);
  }
  return {
    name: rule.name,
    fitsSubject: subjectFits(rule.subjects),
    fitsName,
    fitsLabels,
    fitsAction: (action) => actions.some((fits) => fits(action)),
    untilMs,
  };
}

/** A name counts only for the kind of credential that the rule names. */
function subjectFits(subjects: SubjectsDocument): (subject: Subject) => boolean {
  const patternOf = (list: readonly string[] | undefined): NamePattern => anyOf(list ?? []);
  const users = patternOf(subjects.users);
  const groups = patternOf(subjects.groups);
  const certificates = patternOf(subjects.certificates);
  const organizations = patternOf(subjects.organizations);
  const tokens = patternOf(subjects.tokens);
  return (subject) => {
    switch (subject.source) {
      case 'managed-token':
      case 'hub-token':
      case 'oidc':
        return users(nameOutsideHub(subject)) || subject.groups.some(groups);
      case 'client-certificate':
        return certificates(subject.user) || subject.groups.some(organizations);
      case 'dialer-token':
        return tokens(subject.user);
      default:
        return subjects.anonymous === true;
    }
  };
}

function keyOf(credential: CredentialId): string {
  return credential.kind === 'token'
    ? JSON.stringify(['token', credential.id])
    : JSON.stringify([
        'certificate',
        credential.serial
          .toLowerCase()
          .replaceAll(':', '')
          .replace(/^0+(?=.)/, ''),
        credential.issuer,
      ]);
}

const kindOfSource: Readonly<Record<Subject['source'], string>> = {
  'managed-token': 'user',
  'hub-token': 'user',
  oidc: 'user',
  'client-certificate': 'certificate',
  'dialer-token': 'token',
  none: 'client',
};

function describeSubject(subject: Subject): string {
  return `${kindOfSource[subject.source]} ${JSON.stringify(nameOutsideHub(subject))}`;
}

/** For the reason of a refusal: `get pods/log web-1 in namespace shop`. */
export function describeAction(action: Action): string {
  switch (action.kind) {
    case 'kube': {
      const { verb, resource, subresource, namespace, name } = action;
      const path = subresource === '' ? resource : `${resource}/${subresource}`;
      const where = namespace === '' ? '' : ` in namespace ${namespace}`;
      return `${verb === '' ? 'use' : verb} ${path}${name === '' ? '' : ` ${name}`}${where}`;
    }
    case 'kube-path':
      return `${action.verb} ${action.path}`;
    case 'service':
      return `reach Service ${action.namespace}/${action.name}:${action.port}`;
    case 'tcp':
      return `reach ${action.host}:${action.port}`;
    default:
      return 'open sessions';
  }
}
