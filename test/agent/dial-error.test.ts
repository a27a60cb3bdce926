import { describe, expect, it } from 'vitest';
import {
  attemptsError,
  connectError,
  dialTimeout,
  lookupError,
} from '../../src/agent/dial-error.ts';
import { NameError } from '../../src/base/net/name-error.ts';

const nodeError = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

it.each([
  ['ECONNREFUSED', 'refused', 'dial tcp 10.0.0.1:80: connect: connection refused'],
  ['ETIMEDOUT', 'timeout', 'dial tcp 10.0.0.1:80: i/o timeout'],
  ['EHOSTUNREACH', 'unreachable', 'dial tcp 10.0.0.1:80: connect: no route to host'],
  ['ENETUNREACH', 'unreachable', 'dial tcp 10.0.0.1:80: connect: network is unreachable'],
  ['EMFILE', 'dial_failed', 'dial tcp 10.0.0.1:80: socket: too many open files'],
  ['EWHATEVER', 'dial_failed', 'dial tcp 10.0.0.1:80: connect: EWHATEVER'],
])('The dial error for %s has the words of Go', (code, ours, sentence) => {
  expect(connectError('10.0.0.1', 80, nodeError(code))).toMatchObject({
    code: ours,
    message: sentence,
  });
});

it('The dial error puts IPv6 addresses in brackets', () => {
  expect(dialTimeout('::1', 80).message).toBe('dial tcp [::1]:80: i/o timeout');
});

it.each([
  ['not_found', 'dns', 'dial tcp: lookup nowhere: no such host'],
  ['no_answer', 'dns', 'dial tcp: lookup nowhere: server misbehaving'],
  [
    'overloaded',
    'overloaded',
    'dial tcp: lookup nowhere: too many lookups at a time, dial again later',
  ],
] as const)('The dial error for a name with %s has the words of Go', (why, code, message) => {
  expect(lookupError('nowhere', new NameError(why, ''))).toMatchObject({ code, message });
});

describe('The dial error of several addresses', () => {
  const refused = { address: '10.0.0.1', error: nodeError('ECONNREFUSED') };
  const unreachable = { address: 'fd00::1', error: nodeError('ENETUNREACH') };
  const silent = { address: '10.0.0.2', error: undefined };

  it('The dial error of several addresses names all of them, and prefers an error that says more than an unreachable network', () => {
    expect(attemptsError(80, [unreachable, refused], false)).toMatchObject({
      code: 'refused',
      message:
        'dial tcp 10.0.0.1:80: connect: connection refused (also tried: [fd00::1]:80: connect: network is unreachable)',
    });
  });

  it('The dial error of several addresses is a timeout when an address has no answer and the time is over', () => {
    expect(attemptsError(80, [refused, silent], true)).toMatchObject({
      code: 'timeout',
      message:
        'dial tcp 10.0.0.2:80: i/o timeout (also tried: 10.0.0.1:80: connect: connection refused)',
    });
  });
});
