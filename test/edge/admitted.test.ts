import { expect, it } from 'vitest';
import type { AdmittedClient } from '../../src/broker/admitted-client.ts';
import { decodeAdmitted, forObject } from '../../src/broker/edge/admitted.ts';

const admitted: AdmittedClient = { kind: 'dialer', cluster: 'c1', dialer: 'größer, "a"' };

it('The request to an object names the admitted client and overwrites a forged header', () => {
  const forged = new Headers({ 'Culvert-Admitted': 'somebody else', Upgrade: 'websocket' });
  const headers = forObject(forged, admitted);
  expect(decodeAdmitted({ headers })).toEqual(admitted);
  expect(headers.get('Upgrade')).toBe('websocket');
});

it.each(['Authorization', 'Culvert-Authorization'])(
  "The request to an object does not contain %s, and the client's request is unchanged",
  (name) => {
    const request = new Headers({ [name.toLowerCase()]: 'Bearer secret' });
    const headers = forObject(request, admitted);
    expect(JSON.stringify([...headers])).not.toContain('secret');
    expect(request.get(name)).toBe('Bearer secret');
  },
);
