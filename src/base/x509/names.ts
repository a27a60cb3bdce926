import type { x509 } from './library.ts';

/**
 * The parts of a distinguished name that identify its owner. Each part may occur several times in a
 * name.
 */
export interface DistinguishedName {
  /**
   * Empty when the name has no common name or several. A subject with two common names has proven
   * neither of them.
   */
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/** Names besides the subject. */
export interface AlternativeNames {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  /** Names of any other kind (mail addresses, URIs), as `kind:value`. */
  readonly others: readonly string[];
}

export function nameOf(name: x509.Name): DistinguishedName {
  const commonNames = name.getField('CN');
  return {
    commonName: commonNames.length === 1 ? commonNames[0]! : '',
    organizations: name.getField('O'),
    organizationalUnits: name.getField('OU'),
  };
}

/**
 * The parts in the order that Go uses, because the other programs of this field are written in Go.
 */
export function jsonNameOf(name: Partial<DistinguishedName>): x509.JsonName {
  const { commonName, organizations = [], organizationalUnits = [] } = name;
  return [
    ...organizations.map((value) => ({ O: [value] })),
    ...organizationalUnits.map((value) => ({ OU: [value] })),
    ...(commonName === undefined || commonName === '' ? [] : [{ CN: [commonName] }]),
  ];
}

export function alternativeNamesOf(
  extension: x509.SubjectAlternativeNameExtension | null,
): AlternativeNames {
  const names = extension?.names.toJSON() ?? [];
  const of = (type: string) => names.filter((name) => name.type === type).map((name) => name.value);
  return {
    dns: of('dns'),
    ips: of('ip'),
    others: names
      .filter(({ type }) => type !== 'dns' && type !== 'ip')
      .map(({ type, value }) => `${type}:${value}`),
  };
}
