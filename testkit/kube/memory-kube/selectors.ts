import type { Selectors } from '../../../src/kube/client/kube-api.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';

/** Whether an object is one of those that are asked for. */
export function matcherOf(selectors: Selectors): (object: KubeObject) => boolean {
  const labels = split(selectors.labelSelector).map(labelTest);
  const fields = split(selectors.fieldSelector).map(fieldTest);
  return (object) => [...labels, ...fields].every((test) => test(object));
}

type Test = (object: KubeObject) => boolean;

/** At the commas that are not in brackets. */
function split(selector: string | undefined): readonly string[] {
  if (!selector) return [];
  return selector.split(/,(?![^(]*\))/).map((part) => part.trim());
}

function labelTest(requirement: string): Test {
  const inSet = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(requirement);
  if (inSet !== null) {
    const values = new Set(inSet[3]!.split(',').map((value) => value.trim()));
    const wants = inSet[2] === 'in';
    return ({ metadata }) => values.has(metadata.labels?.[inSet[1]!] ?? '\0') === wants;
  }
  const compared = /^([^!=\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(requirement);
  if (compared !== null) {
    const wants = compared[2] !== '!=';
    return ({ metadata }) => (metadata.labels?.[compared[1]!] === compared[3]) === wants;
  }
  const isAbsent = requirement.startsWith('!');
  const name = requirement.replace(/^!/, '');
  return ({ metadata }) => name in (metadata.labels ?? {}) !== isAbsent;
}

function fieldTest(requirement: string): Test {
  const [path = '', operator = '', value = ''] = requirement.split(/(!=|==?)/);
  return (object) => {
    const found = path.split('.').reduce<unknown>((at, field) => {
      return (at as Record<string, unknown> | undefined)?.[field];
    }, object);
    return ((found ?? '') === value) === (operator !== '!=');
  };
}
