import { isIP } from 'node:net';
import { problemOf } from '../../base/options/read-options.ts';
import { isDnsLabel } from '../../base/names/cluster-name.ts';
import type { TextCheck } from '../api/field-problem.ts';
import { agentPassthroughTable } from '../../base/options/passthrough-options.ts';

const subdomain = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const qualifiedName = /^([A-Za-z0-9][A-Za-z0-9._-]{0,61})?[A-Za-z0-9]$/;
const quantity = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/;

const isSubdomain = (text: string): boolean => text.length <= 253 && subdomain.test(text);
const isHost = (text: string): boolean =>
  isIP(text) !== 0 || (!/^[\d.]+$/.test(text) && isSubdomain(text.toLowerCase()));

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));
const needs =
  (isValid: (text: string) => boolean, sentence: string): TextCheck =>
  (text) =>
    isValid(text) ? undefined : `is ${quoted(text)}, ${sentence}`;

export const dnsLabelCheck = needs(
  isDnsLabel,
  'a DNS label is needed: lower case letters, digits and inner hyphens, at most 63',
);

/** The name of a Service must not begin with a digit (RFC 1035). */
export const serviceNameCheck = needs(
  (text) => isDnsLabel(text) && /^[a-z]/.test(text),
  'the name of a Service is needed: lower case letters, digits and inner hyphens, first a letter, at most 63',
);

/** The name of most objects is a DNS subdomain. */
export const objectNameCheck = needs(
  isSubdomain,
  'the name of an object is needed: lower case letters, digits, hyphens and dots',
);

export const hostCheck = needs(
  isHost,
  'a host name or an IP address is needed, without scheme and port',
);

/** An Ingress routes by name and cannot have an address. */
export const hostNameCheck = needs(
  (text) => isIP(text) === 0 && isSubdomain(text),
  'a host name in lower case is needed',
);

export const sanCheck = needs(
  (text) => isHost(text.replace(/^\*\./, '')),
  'a certificate can name a host, *.domain or an IP address',
);

export const annotationKeyCheck = needs((text) => {
  const [name = '', prefix, ...more] = text.split('/').toReversed();
  return (
    more.length === 0 && qualifiedName.test(name) && (prefix === undefined || isSubdomain(prefix))
  );
}, 'the key of an annotation is needed');

export const secretKeyCheck = needs(
  (text) => /^[A-Za-z0-9._-]{1,253}$/.test(text),
  'a key in a Secret is needed: letters, digits, dots, hyphens and underscores',
);

export const quantityCheck = needs(
  (text) => quantity.test(text),
  'a quantity is needed, such as 100m or 256Mi',
);

export const allowCheck: TextCheck = (text) => {
  const wrong = problemOf(agentPassthroughTable.allow, text);
  return wrong && `is ${quoted(text)}: it ${wrong}`;
};

export const brokerUrlCheck: TextCheck = (text) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'wss:') return 'is no URL that starts with wss://';
  return url.username || url.password ? 'carries a user or password; remove them' : undefined;
};

/**
 * URLs for Sentinel and cluster name several hosts, which URL parsers refuse. The broker parses
 * them.
 */
export const redisUrlCheck: TextCheck = (text) => {
  if (!/^(redis|rediss|rediss?\+sentinel|rediss?\+cluster):\/\/\S+$/.test(text)) {
    return 'is no URL of a Redis: redis://, rediss://, redis+sentinel:// or redis+cluster://';
  }
  // The message does not repeat the URL, because it contains a password.
  return text.includes('@') || text.includes('password')
    ? 'carries a user or password: put the whole URL into a Secret and name it in secretRef'
    : undefined;
};
