import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../src/base/log/logger.ts';
import {
  generateTokenKeyPair,
  issueToken,
  tokenErrorCodes,
  TokenVerifier,
} from '../src/base/tokens/enrolment-token.ts';
import { defaultTextOf, envOf, type Option } from '../src/base/options/option-table.ts';
import { certificateTokenErrorCodes } from '../src/base/tokens/certificate-token.ts';
import { AcceptRate } from '../src/broker/accept-rate.ts';
import { ClusterAdmission } from '../src/broker/cluster-admission.ts';
import { agentCertificateErrorCodes } from '../src/broker/agent-certificates.ts';
import { createApp } from '../src/broker/app.ts';
import { type Authenticator, AuthenticationUnavailableError } from '../src/broker/authenticator.ts';
import { Relay } from '../src/broker/relay.ts';
import { MemoryDirectory } from '../src/broker/memory-directory.ts';
import { TokenAuthenticator } from '../src/broker/token-authenticator.ts';
import { systemClock } from '../src/base/clock.ts';
import type { Command } from '../src/cli/command.ts';
import { commands } from '../src/cli/commands.ts';
import { usageOf } from '../src/cli/help.ts';
import { kubeErrorCodes } from '../src/kube/client/kube-error.ts';
import { standardAgentErrorCodes } from '../src/konnectivity-agents/standard-agent-error.ts';
import { TunnelError, tunnelErrorCodes } from '../src/tunnel/errors.ts';
import { closePayload } from '../src/websocket/close-code.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

const root = new URL('../', import.meta.url);
/** The text under a heading, up to the next heading of its level or above. */
function sectionUnder(text: string, heading: string): string {
  const [hashes] = heading.split(' ', 1);
  const after = `\n${text}`.split(`\n${heading}\n`)[1];
  if (after === undefined) throw new Error(`no heading "${heading}"`);
  return after.split(new RegExp(`\n#{1,${hashes!.length}} `))[0]!;
}

/** The items of the lists under a heading, each as one line. */
function itemsUnder(text: string, heading: string): string[] {
  return sectionUnder(text, heading)
    .split(/\n(?=- |\n)/)
    .filter((block) => block.startsWith('- '))
    .map((item) => item.slice(2).replaceAll(/\s+/g, ' ').trim());
}

const columns = 120;

/** Words in lines of at most 120 columns; text in backticks is not split. */
function wrapped(text: string, indent = ''): string {
  const words = text.match(/(?:`[^`]*`|[^\s`])+/g) ?? [];
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1)!;
    const longer = line === '' ? `${lines.length > 1 ? indent : ''}${word}` : `${line} ${word}`;
    if (line !== '' && longer.length > columns) lines.push(`${indent}${word}`);
    else lines[lines.length - 1] = longer;
  }
  return lines.join('\n');
}

describe('docs/configuration.md', () => {
  const generatedFrom =
    '<!-- Generated from the options of the programs. Update: npm test -- test/docs.test.ts -u -->';

  function itemOf(option: Option): string {
    const default_ = defaultTextOf(option);
    const names = option.envOnly ? [] : [`\`${usageOf(option)}\``];
    const facts = [
      ...(option.envOnly || option.flagOnly ? [] : [`\`${envOf(option)}\``]),
      ...(option.required ? ['required'] : []),
      ...(option.required || default_ === undefined
        ? []
        : [`default: ${typeof option.default === 'string' ? `\`${default_}\`` : default_}`]),
    ];
    const [name] = [...names, `\`${envOf(option)}\``];
    const help =
      option.help + (option.repeatable ? ' May be repeated; in the variable with commas.' : '');
    return wrapped(
      `- **${name}**${facts.length > 0 ? ` (${facts.join(', ')})` : ''}: ${help}`,
      '  ',
    );
  }

  function commandSection({ name, about, groups }: Command): string {
    const blocks = groups.flatMap(({ title, table }) => [
      `### ${title}`,
      Object.values(table).map(itemOf).join('\n'),
    ]);
    return [`## \`culvert ${name}\``, wrapped(about), ...blocks].join('\n\n');
  }

  it.each(
    commands.flatMap(({ name, groups }) =>
      groups.map((group) => [name, group.title, group.table] as const),
    ),
  )('lists the options of %s, "%s", as the program has them', (name, title, table) => {
    const section = sectionUnder(read('docs/configuration.md'), `## \`culvert ${name}\``);
    const items = Object.values(table).map((option) =>
      itemOf(option).slice(2).replaceAll(/\s+/g, ' '),
    );
    expect(itemsUnder(section, `### ${title}`)).toEqual(items);
  });

  // A file that differs fails; `-u` writes it.
  it('lists the commands, their groups and their options as the programs have them', async () => {
    const [prose] = read('docs/configuration.md').split(generatedFrom);
    const text = [prose!.trimEnd(), generatedFrom, ...commands.map(commandSection)].join('\n\n');
    await expect(`${text}\n`).toMatchFileSnapshot('../docs/configuration.md');
  });
});

describe('docs/errors.md', () => {
  const text = read('docs/errors.md');
  /** `**\`code\`** (facts): meaning. _What to do:_ sentence.` */
  const entriesUnder = (heading: string) =>
    itemsUnder(text, heading).map((item) => {
      const match = /^\*\*(.+?)\*\*(?: \((.+?)\))?: (.+) _What to do:_ (.+)$/.exec(item);
      if (match === null) throw new Error(`not an entry of errors.md: ${item}`);
      const [, name, facts = ''] = match;
      return { code: name!.replaceAll('`', ''), facts };
    });
  const codesUnder = (heading: string) => entriesUnder(heading).map(({ code }) => code);
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
      unionIn('src/tunnel/connect-error.ts', 'ConnectErrorCode'),
    ],
    ['standard agents', '## Standard konnectivity agents', standardAgentErrorCodes],
    [
      'the bridge',
      '## Konnectivity bridge',
      unionIn('src/konnectivity/konnectivity-error.ts', 'KonnectivityErrorCode'),
    ],
  ])('explains each code of %s and no other', (_, heading, codes) => {
    expect(codes.length).toBeGreaterThan(0);
    expect(codesUnder(heading).toSorted()).toEqual(codes.map(String).toSorted());
  });

  it('gives a meaning and a next step for each condition of the addon manager', () => {
    expect(codesUnder('## Addon manager').length).toBeGreaterThan(5);
  });

  it('names the number of the close frame that carries each code', () => {
    const documented = entriesUnder('## Tunnel').map(({ code, facts }) => [
      code,
      Number(/; (\d+)$/.exec(facts)?.[1]),
    ]);
    const sent = tunnelErrorCodes.map((code) => {
      const [high, low] = closePayload(new TunnelError(code, 'x'));
      return [code, high! * 256 + low!];
    });
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(sent));
  });

  it('names the programs that raise each code of the tunnel', () => {
    for (const { facts } of entriesUnder('## Tunnel')) {
      expect(facts).toMatch(
        /^(any|(agent|broker|bridge|dialer)(, (agent|broker|bridge|dialer))*); /,
      );
    }
    for (const { facts } of entriesUnder('## Konnectivity bridge')) expect(facts).not.toBe('');
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
    const scope = { kind: 'dialer', name: 'ci', clusters: ['c1'] } as const;
    const scoped = await issueToken(privateKeyPem, scope, 60_000);
    const ofScoped = { Authorization: `Bearer ${scoped.reveal()}` };
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
      app.request('/v1/clusters/c2/session', { headers: ofScoped }, upgrade),
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
    const documented = itemsUnder(text, '## HTTP answers of the broker').map((item) => {
      const match = /^\*\*(\d+) `(\w+)`\*\*(, with Retry-After)?: ./.exec(item);
      return `${match?.[1]} ${match?.[2]} ${match?.[3] === undefined ? 'no' : 'yes'}`;
    });
    // 500 reports a bug, so no request here can cause it.
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

describe('docs/metrics.md', () => {
  it('names only metrics that the programs have', () => {
    const named = new Set(read('docs/metrics.md').match(/\bculvert_[a-z]+_[a-z_]*[a-z]\b/g));
    expect(named.size).toBeGreaterThan(20);
    const sources = readdirSync(new URL('src', root), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => read(`src/${path}`))
      .join('\n');
    // `culvert_broker_agents` is `agents` in the group of the broker; a counter gets `_total` or `_count`.
    const isKnown = (name: string) => {
      const own = name.replace(/^culvert_[a-z]+_/, '');
      return [own, own.replace(/_(total|count)$/, '')].some((each) =>
        sources.includes(`'${each}'`),
      );
    };
    expect([...named].filter((name) => !isKnown(name))).toEqual([]);
  });
});
