import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OidcIssuer } from '../../../src/access/node/oidc-issuer.ts';
import { oidcOptionsOf, oidcTable } from '../../../src/access/node/oidc-options-table.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { readOptions } from '../../../src/base/options/read-options.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { type OidcProvider, startOidcProvider } from '../../../testkit/world/oidc-provider.ts';

let certificates: Awaited<ReturnType<typeof makeTestCertificates>>;
let folder: string;
let provider: OidcProvider;
let issuerUrl: string;
let token: string;

beforeAll(async () => {
  certificates = await makeTestCertificates();
  folder = await mkdtemp(join(tmpdir(), 'culvert-oidc-'));
  provider = await startOidcProvider(certificates.server);
  ({ issuerUrl } = provider);
  token = await provider.token({ aud: 'gateway', sub: 'alice' });
});
afterAll(async () => {
  await provider?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
  await certificates?.[Symbol.asyncDispose]();
});

describe('An OIDC issuer with a CA file', () => {
  it('The issuer is off while its CA is missing, damaged or another one, and on with the right one', async () => {
    const caFile = join(folder, 'ca.crt');
    const clock = new VirtualClock();
    using issuer = new OidcIssuer(
      { issuerUrl, clientId: 'gateway' },
      { caFile, clock, log: silentLogger },
    );
    await issuer.look();
    await expect(issuer.authenticate(token)).rejects.toThrow('ENOENT');
    await copyFile(certificates.server.ca, caFile);
    await issuer.look();
    await expect.poll(() => issuer.unready).toBeUndefined();
    expect(await issuer.authenticate(token)).toMatchObject({ user: `${issuerUrl}#alice` });
    await writeFile(caFile, 'no certificate');
    await issuer.look();
    await expect(issuer.authenticate(token)).rejects.toThrow('cannot be used');
    await copyFile(certificates.stranger.ca, caFile);
    await issuer.look();
    await expect(issuer.authenticate(token)).rejects.toThrow('is not initialized');
    await copyFile(certificates.server.ca, caFile);
    await issuer.look();
    await expect.poll(() => issuer.unready).toBeUndefined();
    await rm(caFile);
    await issuer.look();
    await expect(issuer.authenticate(token)).rejects.toThrow('ENOENT');
  });
});

describe('The options of an OIDC issuer on a command line', () => {
  const read = (...argv: string[]) => oidcOptionsOf(readOptions(oidcTable, argv, {}).values);
  const needed = ['--oidc-issuer-url=https://i', '--oidc-client-id=c'];

  it('Without an issuer there is none, whatever else is given', () => {
    expect(read('--oidc-groups-claim=g')).toEqual({ options: undefined, problems: [] });
  });

  it('The defaults are those of upstream', () => {
    expect(read(...needed).options).toMatchObject({
      usernameClaim: undefined,
      reservedNamePrefixes: ['system:'],
      signingAlgs: ['RS256'],
      requiredClaims: {},
    });
  });

  it('Lists and claims are read', () => {
    const options = [
      '--oidc-reserved-name-prefixes=a:,b:',
      '--oidc-signing-algs=RS256,ES256',
      '--oidc-required-claim=hd=x=y',
      '--oidc-required-claim=b=',
    ];
    expect(read(...needed, ...options).options).toMatchObject({
      reservedNamePrefixes: ['a:', 'b:'],
      signingAlgs: ['RS256', 'ES256'],
      requiredClaims: { hd: 'x=y', b: '' },
    });
    expect(read(...needed, '--oidc-reserved-name-prefixes=a:,').problems).toHaveLength(1);
    expect(read(...needed, '--oidc-reserved-name-prefixes=-').options).toMatchObject({
      reservedNamePrefixes: [],
    });
    expect(read('--oidc-issuer-url=https://i').problems).toHaveLength(1);
  });
});
