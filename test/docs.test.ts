import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../src/base/logger.ts';
import {
  generateTokenKeyPair,
  issueToken,
  tokenErrorCodes,
  TokenVerifier,
} from '../src/base/enrolment-token.ts';
import { defaultTextOf, envOf, type Option } from '../src/base/options-table.ts';
import { certificateTokenErrorCodes } from '../src/base/certificate-token.ts';
import { AcceptRate } from '../src/broker/accept-rate.ts';
import { ClusterAdmission } from '../src/broker/cluster-admission.ts';
import { agentCertificateErrorCodes } from '../src/broker/agent-certificates.ts';
import { createApp } from '../src/broker/app.ts';
import { type Authenticator, AuthenticationUnavailableError } from '../src/broker/authenticator.ts';
import { Relay } from '../src/broker/relay.ts';
import { MemoryDirectory } from '../src/broker/memory-directory.ts';
import { TokenAuthenticator } from '../src/broker/token-authenticator.ts';
import { systemClock } from '../src/base/clock.ts';
import { commands } from '../src/cli/commands.ts';
import { usageOf } from '../src/cli/help.ts';
import { kubeErrorCodes } from '../src/kube/kube-error.ts';
import { TunnelError, tunnelErrorCodes } from '../src/tunnel/errors.ts';
import { closePayload } from '../src/websocket/close-code.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

/** The rows of the tables under a heading, up to the next heading of its level or above; cells without markup. */
function rowsUnder(text: string, heading: string): string[][] {
  const [hashes] = heading.split(' ', 1);
  const after = `\n${text}`.split(`\n${heading}\n`)[1];
  if (after === undefined) throw new Error(`no heading "${heading}"`);
  const section = after.split(new RegExp(`\n#{1,${hashes!.length}} `))[0]!;
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .filter((line) => !/^\|[\s|:-]+\|$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.replaceAll('\\', '').trim()),
    )
    .filter(([first]) => !/^(flag|code)$/.test(first!));
}

describe('docs/configuration.md', () => {
  const text = read('docs/configuration.md');

  function rowOf(option: Option): string[] {
    const default_ = defaultTextOf(option);
    return [
      option.envOnly ? '' : `\`${usageOf(option)}\``,
      `\`${envOf(option)}\``,
      option.required
        ? 'required'
        : typeof option.default === 'string'
          ? `\`${default_}\``
          : (default_ ?? ''),
      option.help + (option.repeatable ? ' May be repeated; in the variable with commas.' : ''),
    ];
  }

  it('has a section for each command and for no other', () => {
    const sections = Array.from(text.matchAll(/^## `culvert (.+)`$/gm), ([, name]) => name);
    expect(sections).toEqual(commands.map(({ name }) => name));
  });

  it.each(
    commands.flatMap(({ name, groups }) =>
      groups.map((group) => [name, group.title, group.table] as const),
    ),
  )('lists the options of %s, "%s", as the program has them', (name, title, table) => {
    const section = text.split(`\n## \`culvert ${name}\`\n`)[1]!.split('\n## ')[0]!;
    expect(rowsUnder(section, `### ${title}`)).toEqual(Object.values(table).map(rowOf));
  });

  it('lists no groups of options that a command does not have', () => {
    for (const { name, groups } of commands) {
      const section = text.split(`\n## \`culvert ${name}\`\n`)[1]!.split('\n## ')[0]!;
      const titles = Array.from(section.matchAll(/^### (.+)$/gm), ([, title]) => title);
      expect(titles).toEqual(groups.map(({ title }) => title));
    }
  });
});

describe('docs/errors.md', () => {
  const text = read('docs/errors.md');
  const codesUnder = (heading: string) =>
    rowsUnder(text, heading).map(([code]) => code!.replaceAll('`', ''));
  /** A closed set that exists in types only, as its source spells it. */
  const unionIn = (path: string, name: string) =>
    Array.from(
      read(path)
        .split(`type ${name} =`)[1]!
        .split(';')[0]!
        .matchAll(/\| '(\w+)'/g),
      ([, code]) => code,
    );

  it.each([
    ['the tunnel', '## Tunnel', tunnelErrorCodes],
    ['enrolment tokens', '## Enrolment tokens', tokenErrorCodes],
    ["agents' certificates", "## Agents' certificates", agentCertificateErrorCodes],
    ["agents' tokens", "## Agents' tokens", certificateTokenErrorCodes],
    ['the Kubernetes API', '## Kubernetes API', kubeErrorCodes],
    [
      'connecting',
      '## Connecting to a broker',
      unionIn('src/websocket/handshake-error.ts', 'HandshakeErrorCode'),
    ],
    [
      'the bridge',
      '## Konnectivity bridge',
      unionIn('src/konnectivity-bridge/bridge-error.ts', 'BridgeErrorCode'),
    ],
  ])('explains each code of %s and no other', (_, heading, codes) => {
    expect(codes.length).toBeGreaterThan(0);
    expect(codesUnder(heading).toSorted()).toEqual(codes.map(String).toSorted());
  });

  it('leaves no cell of its tables empty', () => {
    for (const heading of [
      '## Tunnel',
      '## Enrolment tokens',
      "## Agents' certificates",
      "## Agents' tokens",
      '## Connecting to a broker',
      '## Kubernetes API',
      '## Addon manager',
      '## Konnectivity bridge',
    ]) {
      expect(
        rowsUnder(text, heading)
          .flat()
          .filter((cell) => cell === ''),
      ).toEqual([]);
    }
  });

  it('names the number of the close frame that carries each code', () => {
    const documented = rowsUnder(text, '## Tunnel').map((row) => [
      row[0]!.replaceAll('`', ''),
      Number(row.at(-1)),
    ]);
    const sent = tunnelErrorCodes.map((code) => {
      const [high, low] = closePayload(new TunnelError(code, 'x'));
      return [code, high! * 256 + low!];
    });
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(sent));
  });

  it('names the HTTP answers that the broker gives', async () => {
    const { publicKeyPem, privateKeyPem } = await generateTokenKeyPair();
    const options = {
      replica: 'r',
      address: '',
      directory: new MemoryDirectory(),
      clock: systemClock,
      log: silentLogger,
    };
    const byToken = new TokenAuthenticator(await TokenVerifier.fromPem([publicKeyPem]));
    const nobody = { isAccepted: () => false, onRevoked() {} };
    const appWith = async (
      relay: Relay,
      perSecond: number,
      authenticator: Authenticator = byToken,
    ) =>
      createApp({
        relay,
        authenticator,
        clusterAdmission: new ClusterAdmission(nobody, {
          tunnels: relay,
          clock: systemClock,
          log: silentLogger,
        }),
        acceptRate: new AcceptRate(perSecond, systemClock),
        clock: systemClock,
        metrics: async () => ({ contentType: '', text: '' }),
        log: silentLogger,
      });
    const app = await appWith(new Relay(options), 100);
    const token = await issueToken(privateKeyPem, { kind: 'agent', cluster: 'c1' }, 60_000);
    const agent = (cluster: string) => ({
      Authorization: `Bearer ${token.reveal()}`,
      'Culvert-Cluster': cluster,
      'Culvert-Agent': 'a',
    });
    const upgrade = { acceptLink: () => new Response() };
    const busy = await appWith(new Relay(options), 1);
    await busy.request('/v1/agent', { headers: agent('c1') }, upgrade);
    const closing = new Relay(options);
    closing.close();
    const registered = { kind: 'agent', cluster: 'c1', registered: true } as const;
    const revoked = await appWith(new Relay(options), 100, {
      authenticate: async () => registered,
    });
    const unasked = await appWith(new Relay(options), 100, {
      authenticate: () => Promise.reject(new AuthenticationUnavailableError('nobody answers')),
    });
    const answers = await Promise.all([
      app.request('/v1/agent', { headers: agent('c1') }, {}),
      app.request('/v1/agent', {}, upgrade),
      app.request('/v1/agent', { headers: agent('c2') }, upgrade),
      app.request('/v1/agent', { headers: agent('No Label') }, upgrade),
      revoked.request('/v1/agent', { headers: agent('c1') }, upgrade),
      unasked.request('/v1/agent', { headers: agent('c1') }, upgrade),
      app.request('/nowhere'),
      busy.request('/v1/agent', { headers: agent('c1') }, upgrade),
      (await appWith(closing, 100)).request('/v1/agent', {}, upgrade),
    ]);
    const given = await Promise.all(
      answers.map(async (answer) => {
        const { code } = (await answer.json()) as { code: string };
        return `${answer.status} ${code} ${answer.headers.has('Retry-After') ? 'yes' : 'no'}`;
      }),
    );
    const documented = rowsUnder(text, '## HTTP answers of the broker').map(
      ([code, status, retryAfter]) => `${status} ${code!.replaceAll('`', '')} ${retryAfter}`,
    );
    // 500 is for what nobody foresaw, so nothing here can cause it.
    expect([...given, '500 internal no'].toSorted()).toEqual(documented.toSorted());
  });
});

describe('docs/security.md', () => {
  it('names only tests that exist', () => {
    const named = read('docs/security.md').match(/test\/[\w./-]+\.ts\b/g) ?? [];
    expect(named.length).toBeGreaterThan(40);
    const missing = named.filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)));
    expect(missing).toEqual([]);
  });
});
