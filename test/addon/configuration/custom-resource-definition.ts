import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** A node of the CRD's schema. */
export interface Schema {
  readonly type?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
}

const file = new URL(
  '../../../charts/cluster-proxy/crds/managedproxyconfigurations.yaml',
  import.meta.url,
);

export const definitionText = readFileSync(file, 'utf8');
export const definition = parse(definitionText);
export const specSchema: Schema =
  definition.spec.versions[0].schema.openAPIV3Schema.properties.spec;

/** Every field under `schema` by its path. The items of lists have the path `field[0]`. */
export function* fieldsOf(
  schema: Schema,
  path: readonly (string | number)[] = ['spec'],
): Generator<{ path: readonly (string | number)[]; schema: Schema }> {
  yield { path, schema };
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    yield* fieldsOf(child, [...path, name]);
  }
  if (schema.items !== undefined) yield* fieldsOf(schema.items, [...path, 0]);
}

/** `spec.proxyServer.nodePlacement.tolerations[0].key` */
export function nameOf(path: readonly (string | number)[]): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .slice(1);
}

/** An object that holds `value` at `path` and nothing else. */
export function objectWith(path: readonly (string | number)[], value: unknown): unknown {
  return path.reduceRight<unknown>(
    (under, step) => (typeof step === 'number' ? [under] : { [step]: under }),
    value,
  );
}

export function valueAt(object: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (at, step) => (at as Record<string | number, unknown> | undefined)?.[step],
    object,
  );
}
