import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TunnelError, tunnelErrorCodes } from '../../src/tunnel/errors.ts';
import { FrameType, frameName } from '../../src/tunnel/frame.ts';
import {
  controlMapLimits,
  defaultLimits,
  defaultProcessBudgetBytes,
} from '../../src/tunnel/limits.ts';
import { protocolVersion } from '../../src/tunnel/message.ts';
import { decodeOpen, decodeOpened } from '../../src/tunnel/open-message.ts';
import { readOffset } from '../../src/tunnel/offset.ts';
import { closePayload } from '../../src/websocket/close-code.ts';
import { linkedSessions } from '../../testkit/link/linked-sessions.ts';
import type { SentFrame } from '../../testkit/link/simulated-link.ts';
import { vectors } from './vectors.ts';

const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');

/** The text from a heading to the next of its level or above. */
function section(heading: string): string {
  const level = heading.indexOf(' ');
  const from = text.indexOf(`\n${heading}\n`) + heading.length + 2;
  expect(from).toBeGreaterThan(heading.length + 1);
  const next = text.slice(from).search(new RegExp(`^#{2,${level}} `, 'm'));
  return next < 0 ? text.slice(from) : text.slice(from, from + next);
}

/** The cells of the tables in a text, without headings. */
function rows(of: string): string[][] {
  return of
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[\s:|-]+\|$/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .slice(1);
}

/** A frame of the example in the document. */
function told({ name, payloadBytes, control }: SentFrame): string {
  switch (name) {
    case 'OPEN':
      return `OPEN, window ${decodeOpen(control!).window}`;
    case 'OPENED':
      return `OPENED, window ${decodeOpened(control!).window}`;
    case 'CREDIT':
      return `CREDIT received ${readOffset(control!, 0)}, limit ${readOffset(control!, 8)}`;
    case 'FIN':
      return `FIN ${readOffset(control!, 0)}`;
    case 'DATA':
      return `DATA ${payloadBytes}`;
    default:
      return name;
  }
}

describe('docs/protocol.md', () => {
  it('The protocol document shows the rows of vectors.json and no other bytes', () => {
    const shown = Array.from(text.matchAll(/```hex (.+)\n([^`]*)```/g), ([, name, block]) => {
      const lines = block!.trimEnd().split('\n');
      const [frame, fields] = lines;
      return { name, frame, fields, hex: lines.slice(2).join('').replaceAll(' ', '') };
    });
    expect(shown).toEqual(
      vectors.map(({ name, type, session, stream, fields, hex }) => ({
        name,
        frame: `# ${type}, session ${session}, stream ${stream}`,
        fields: `# ${JSON.stringify(fields)}`,
        hex,
      })),
    );
  });

  it('The protocol document has a heading with the number of every message, and shows its bytes under it', () => {
    const headings = Array.from(text.matchAll(/^### (.* 0x.*)$/gm), ([, heading]) => heading!);
    const numbered = headings.flatMap((heading) => heading.split(' and '));
    expect(numbered).toEqual(
      Object.values(FrameType).map(
        (type) => `${frameName(type)} 0x${type.toString(16).padStart(2, '0')}`,
      ),
    );
    for (const heading of headings) {
      const shown = section(`### ${heading}`).matchAll(/^# (\w+), session/gm);
      const types = new Set(Array.from(shown, ([, type]) => type));
      expect([...types]).toEqual(heading.split(' and ').map((name) => name.split(' ')[0]));
    }
  });

  it('The protocol document has the limits of the code', () => {
    const limits = section('## Limits');
    const shown = rows(limits).map(([name, value]) => [name!.replaceAll('`', ''), Number(value)]);
    expect(Object.fromEntries(shown)).toEqual({ ...defaultLimits, ...controlMapLimits });
    expect(limits).toContain(`at ${defaultProcessBudgetBytes} bytes`);
  });

  it('The protocol document has the close codes of the code', () => {
    const shown = rows(section('## Links').split('**Closing.**')[1]!).flatMap(([number, codes]) =>
      codes!.split(', ').map((code) => [code.replaceAll('`', ''), Number(number)]),
    );
    const sent = tunnelErrorCodes.map((code) => {
      const payload = closePayload(new TunnelError(code, 'a reason'));
      return [code, payload[0]! * 256 + payload[1]!];
    });
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(sent));
  });

  it('The protocol document describes the version that the code speaks', () => {
    const { major, minor } = protocolVersion;
    expect(section('## Versioning')).toContain(`This page describes ${major}.${minor}.`);
  });

  it("The protocol document's example shows what two sessions send, frame by frame", async () => {
    const { clock, dialer, agent, ...sessions } = await exampleSessions();
    await clock.runUntilIdle();
    expect(sessions.accepted.receivedBytes).toBe(300 * 1024);
    const example = rows(section('### An example'));
    const frames = (of: string): string[] =>
      example
        .filter(([, from]) => from === of)
        .flatMap(([, , frame]) => {
          const [, count, one] = /^(?:(\d) x )?(.*)$/.exec(frame!)!;
          return Array<string>(Number(count ?? 1)).fill(one!);
        });
    expect(dialer.link.sent.map(told)).toEqual(frames('dialer'));
    expect(agent.link.sent.map(told)).toEqual(frames('agent'));
  });
});

/** The dialer writes 300 KiB and half-closes. The reader takes 64 KiB when all else is idle. */
async function exampleSessions() {
  const sessions = linkedSessions();
  const { clock, dialer, agent } = sessions;
  const [dialed, accepted] = await sessions.opened();
  accepted.stopReading();
  for (const kibibytes of [64, 64, 64, 64, 44]) dialed.write(kibibytes * 1024);
  dialed.fin();
  await clock.runUntilIdle();
  accepted.take(64 * 1024);
  return { clock, dialer, agent, accepted };
}
