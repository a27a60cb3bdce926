import type { x509 } from './library.ts';

/** The parts of a distinguished name that carry identity; each may stand in it several times. */
export interface DistinguishedName {
  /** Empty where there is none, or where there are several: who has two names has proven neither. */
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/** Names besides the subject. */
export interface AlternativeNames {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  /** Those of any other kind (mail addresses, URIs), as `kind:value`. */
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

/** As Go orders them: it is what the other programs in this field are written in. */
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
