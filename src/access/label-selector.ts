import { AccessError } from './access-error.ts';

export type Labels = Readonly<Record<string, string>>;

/** Whether the labels of an object fit a selector. */
export type LabelSelector = (labels: Labels) => boolean;

const key = '[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?';
const value = '(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?';
const equality = new RegExp(`^(${key})\\s*(==?|!=)\\s*(${value})$`);
const membership = new RegExp(`^(${key})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const existence = new RegExp(`^(!?)\\s*(${key})$`);
const wholeValue = new RegExp(`^${value}$`);

const maxCharacters = 1_000;

/**
 * Reads a label selector in kubectl's syntax: `env=prod,tier in (a,b),!legacy`. All terms must fit.
 * An empty selector is an error, because it would fit everything.
 *
 * @throws AccessError `bad_policy`
 */
export function parseLabelSelector(text: string): LabelSelector {
  const problem = () =>
    new AccessError('bad_policy', `${JSON.stringify(text.slice(0, 200))} is no label selector`);
  if (text.trim() === '' || text.length > maxCharacters) throw problem();
  const terms = splitTerms(text).map((term) => {
    const parsed = parseTerm(term.trim());
    if (parsed === undefined) throw problem();
    return parsed;
  });
  return (labels) => terms.every((fits) => fits(labels));
}

/** Splits at commas that are not in brackets. */
function splitTerms(text: string): readonly string[] {
  return text.split(/,(?![^(]*\))/);
}

function parseTerm(term: string): LabelSelector | undefined {
  const [, equalKey, operator, equalValue] = equality.exec(term) ?? [];
  if (equalKey !== undefined) {
    const isWanted = operator !== '!=';
    return (labels) => (valueOf(labels, equalKey) === equalValue) === isWanted;
  }
  const [, memberKey, set, list = ''] = membership.exec(term) ?? [];
  if (memberKey !== undefined) {
    const values = list.split(',').map((item) => item.trim());
    if (!values.every((item) => wholeValue.test(item))) return undefined;
    const isWanted = set === 'in';
    return (labels) => {
      const found = valueOf(labels, memberKey);
      return (found !== undefined && values.includes(found)) === isWanted;
    };
  }
  const [, negation, existingKey] = existence.exec(term) ?? [];
  if (existingKey === undefined) return undefined;
  return (labels) => (valueOf(labels, existingKey) !== undefined) === (negation === '');
}

function valueOf(labels: Labels, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined;
}
