import { expect, it } from 'vitest';
import { generateTokenKeyPair } from '../../src/base/tokens/enrolment-token.ts';
import { readEdgeOptions } from '../../src/broker/edge/edge-options.ts';

const { publicKeyPem: first } = await generateTokenKeyPair();
const { publicKeyPem: second } = await generateTokenKeyPair();

it('The edge options accept several keys in one text, with escaped line ends or real ones', () => {
  const { tokenPublicKeys } = readEdgeOptions({
    CULVERT_TOKEN_PUBLIC_KEY: `${first}\n${second.replaceAll('\n', '\\n')}`,
    CLUSTER: {},
  });
  expect(tokenPublicKeys.map((key) => key.trim())).toEqual([first.trim(), second.trim()]);
});

it('The edge options have defaults for variables that are not set or empty', () => {
  expect(readEdgeOptions({ CULVERT_OPEN: 'true', CULVERT_ACCEPT_RATE: '' })).toEqual({
    tokenPublicKeys: [],
    acceptRate: 200,
    logLevel: 'info',
    silenceLimitMs: 60_000,
  });
});

it('The edge options report all problems together, without values', () => {
  const read = () =>
    readEdgeOptions({
      CULVERT_TOKEN_PUBLIC_KEY: 'no key at all',
      CULVERT_OPEN: 'yes',
      CULVERT_ACCEPT_RATE: '0',
      CULVERT_LOG_LEVEL: 'loud',
      CULVERT_SILENCE_LIMIT: '60',
      CULVERT_OPNE: 'true',
    });
  expect(read).toThrow(
    'CULVERT_OPNE is unknown; CULVERT_TOKEN_PUBLIC_KEY is not what it should be; ' +
      'CULVERT_OPEN is not what it should be; CULVERT_ACCEPT_RATE is not what it should be; ' +
      'CULVERT_LOG_LEVEL is not what it should be; CULVERT_SILENCE_LIMIT is not what it should be; ' +
      'CULVERT_TOKEN_PUBLIC_KEY is not set',
  );
  expect(read).not.toThrow('no key at all');
});
