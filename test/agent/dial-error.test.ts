import { expect, it } from 'vitest';
import { connectError, dialTimeout, lookupError } from '../../src/agent/dial-error.ts';

const nodeError = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

it.each([
  ['ECONNREFUSED', 'refused', 'dial tcp 10.0.0.1:80: connect: connection refused'],
  ['ETIMEDOUT', 'timeout', 'dial tcp 10.0.0.1:80: i/o timeout'],
  ['EHOSTUNREACH', 'unreachable', 'dial tcp 10.0.0.1:80: connect: no route to host'],
  ['ENETUNREACH', 'unreachable', 'dial tcp 10.0.0.1:80: connect: network is unreachable'],
  ['EMFILE', 'dial_failed', 'dial tcp 10.0.0.1:80: socket: too many open files'],
  ['EWHATEVER', 'dial_failed', 'dial tcp 10.0.0.1:80: connect: EWHATEVER'],
])('writes %s as Go does', (code, ours, sentence) => {
  expect(connectError('10.0.0.1', 80, nodeError(code))).toMatchObject({
    code: ours,
    message: sentence,
  });
});

it('brackets IPv6 addresses', () => {
  expect(dialTimeout('::1', 80).message).toBe('dial tcp [::1]:80: i/o timeout');
});

it('writes an unknown name as Go does', () => {
  const error = lookupError('nowhere', nodeError('ENOTFOUND'));
  expect(error).toMatchObject({ code: 'dns', message: 'dial tcp: lookup nowhere: no such host' });
});
