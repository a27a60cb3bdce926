import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  readRegistration,
  registrationFilesIn,
  RegistrationError,
} from '../../src/agent/registration.ts';
import { verifyCertificateToken } from '../../src/base/tokens/certificate-token.ts';
import { AgentCertificates } from '../../src/broker/agent-certificates.ts';
import { AgentAuthority, putCertificate } from '../../testkit/world/agent-authority.ts';

const root = await mkdtemp(join(tmpdir(), 'culvert-registration-'));
afterAll(() => rm(root, { recursive: true }));
const agents = await AgentAuthority.create();

describe('The registration directory of an agent', () => {
  it.each(['ec', 'p384', 'rsa', 'ed25519'] as const)(
    'The registration with a key of %s proves to a broker which cluster the agent is in',
    async (kind) => {
      const directory = await agents.directory(join(root, kind), { kind, cluster: '1st' });
      const { certificate, makeToken } = await readRegistration(registrationFilesIn(directory));
      const token = await makeToken('1st', new Date());
      const broker = AgentCertificates.fromPem(agents.pem);
      const proving = verifyCertificateToken(token.reveal(), (chain) => broker.prove(chain));
      expect(await proving).toBe('1st');
      expect(certificate.key.reveal()).toContain('PRIVATE KEY');
      expect(JSON.stringify(certificate)).not.toContain('PRIVATE KEY');
    },
  );

  it('The registration is read from its files again each time', async () => {
    const directory = await agents.directory(join(root, 'renewed'));
    const before = await readRegistration(registrationFilesIn(directory));
    await putCertificate(directory, await agents.issue());
    expect((await readRegistration(registrationFilesIn(directory))).certificate.cert).not.toBe(
      before.certificate.cert,
    );
  });

  it('The agent certificate is the first certificate of the chain in the registration', async () => {
    const directory = await agents.directory(join(root, 'chain'));
    const issued = await agents.issue({ cluster: 'c7' });
    await putCertificate(directory, { ...issued, certPem: issued.certPem + agents.pem });
    const token = await (
      await readRegistration(registrationFilesIn(directory))
    ).makeToken('c7', new Date());
    const broker = AgentCertificates.fromPem(agents.pem);
    expect(await verifyCertificateToken(token.reveal(), (chain) => broker.prove(chain))).toBe('c7');
  });

  it.each([
    ['nothing', async () => join(root, 'none'), 'ENOENT'],
    [
      'the key of another certificate',
      async () => {
        const directory = await agents.directory(join(root, 'mixed'));
        await writeFile(join(directory, 'tls.key'), (await agents.issue()).keyPem);
        return directory;
      },
      'tls.key is not the key of tls.crt',
    ],
    [
      'no key',
      async () => {
        const directory = await agents.directory(join(root, 'garbage'));
        await writeFile(join(directory, 'tls.key'), 'my secret');
        return directory;
      },
      'tls.key is no private key',
    ],
  ])('The registration error for a directory with %s names the directory', async (_, make, why) => {
    const directory = await make();
    const failure = await readRegistration(registrationFilesIn(directory)).catch(
      (thrown: unknown) => thrown as Error,
    );
    expect(failure).toBeInstanceOf(RegistrationError);
    const { message } = failure as Error;
    expect(message).toContain(why);
    expect(message).toContain(directory);
    expect(message).not.toContain('my secret');
  });
});
