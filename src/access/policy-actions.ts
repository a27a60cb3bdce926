import type { Action } from './action.ts';
import { anyOf } from './name-pattern.ts';
import type { AllowDocument } from './policy-schema.ts';

type Fits<A extends Action> = (action: A) => boolean;

type ActionOf<K extends Action['kind']> = Extract<Action, { readonly kind: K }>;

/** The actions of one entry of `allow`, by their kind. */
export function allowedActions(entry: AllowDocument): (action: Action) => boolean {
  const kube = entry.kube && kubeFits(entry.kube);
  const path = entry.paths && pathFits(entry.paths);
  const service = entry.services && serviceFits(entry.services);
  const tcp = entry.tcp && tcpFits(entry.tcp);
  return (action) => {
    if (entry.all === true) return true;
    switch (action.kind) {
      case 'kube':
        return kube?.(action) === true;
      case 'kube-path':
        return path?.(action) === true;
      case 'service':
        return service?.(action) === true;
      case 'tcp':
        return tcp?.(action) === true;
      default:
        return entry.sessions === true;
    }
  };
}

/**
 * As in RBAC, a list without namespaces fits all, also requests that span all namespaces. A list
 * fits a request without a namespace only with `*`. `pods/exec` names a subresource, and `pods`
 * does not include it.
 */
function kubeFits(allow: NonNullable<AllowDocument['kube']>): Fits<ActionOf<'kube'>> {
  const verbs = anyOf(allow.verbs);
  const groups = allow.apiGroups === undefined ? everything : anyOf(allow.apiGroups);
  const resources = anyResource(allow.resources);
  const namespaces = allow.namespaces === undefined ? everything : anyOf(allow.namespaces);
  const names = allow.names === undefined ? everything : anyOf(allow.names);
  return ({ verb, group, resource, subresource, namespace, name }) =>
    verbs(verb) &&
    groups(group) &&
    resources(subresource === '' ? resource : `${resource}/${subresource}`) &&
    namespaces(namespace) &&
    names(name);
}

/** A lone star fits everything, a star and `/scale` that subresource of every resource. */
function anyResource(patterns: readonly string[]): (resource: string) => boolean {
  return (resource) =>
    patterns.some((pattern) => {
      if (pattern === '*' || pattern === resource) return true;
      const subresource = resource.split('/')[1];
      return subresource !== undefined && pattern === `*/${subresource}`;
    });
}

function pathFits(allow: NonNullable<AllowDocument['paths']>): Fits<ActionOf<'kube-path'>> {
  const verbs = anyOf(allow.verbs);
  const paths = anyOf(allow.paths);
  return ({ verb, path }) => verbs(verb) && paths(path);
}

function serviceFits(allow: NonNullable<AllowDocument['services']>): Fits<ActionOf<'service'>> {
  const namespaces = anyOf(allow.namespaces);
  const names = anyOf(allow.names);
  const ports = allow.ports === undefined ? everything : anyOf(allow.ports.map(String));
  const schemes = allow.schemes === undefined ? everything : anyOf(allow.schemes);
  return (action) =>
    namespaces(action.namespace) &&
    names(action.name) &&
    ports(action.port) &&
    schemes(action.scheme);
}

/** Hosts are compared in lower case and without the final dot, as resolvers read them. */
function tcpFits(allow: NonNullable<AllowDocument['tcp']>): Fits<ActionOf<'tcp'>> {
  const hosts = anyOf(allow.hosts.map((host) => host.toLowerCase()));
  const ports = allow.ports === undefined ? everything : anyOf(allow.ports.map(String));
  return ({ host, port }) => hosts(host.toLowerCase().replace(/\.$/, '')) && ports(String(port));
}

function everything(): boolean {
  return true;
}
