/** Features that are off by default. */
export interface FeatureGates {
  /** Publish each cluster's address in its ClusterProfile. */
  readonly clusterProfile: boolean;
}

const fields = { ClusterProfile: 'clusterProfile' } as const satisfies Record<
  string,
  keyof FeatureGates
>;

export const featureGateNames: readonly string[] = Object.keys(fields);

export function isFeatureGate(name: string): name is keyof typeof fields {
  return Object.hasOwn(fields, name);
}

/** Reads `Name=true,Other=false`, which was checked before; a later one beats an earlier one. */
export function parseFeatureGates(texts: readonly string[]): FeatureGates {
  const gates: { -readonly [K in keyof FeatureGates]: FeatureGates[K] } = { clusterProfile: false };
  for (const text of texts.flatMap((list) => list.split(','))) {
    const [name = '', value] = text.split('=', 2);
    if (isFeatureGate(name)) gates[fields[name]] = value === 'true';
  }
  return Object.freeze(gates);
}
