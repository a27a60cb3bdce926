import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  GatewayHeaderError,
  joinHeaders,
  parseHeaderOption,
  readHeaderFile,
} from '../../../src/base/net/gateway-headers.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-headers-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function written(text: string): Promise<string> {
  const path = join(directory, 'headers');
  await writeFile(path, text);
  return path;
}

describe('parseHeaderOption and joinHeaders', () => {
  it.each<[string, string, string]>([
    ['X-Key=abc', 'X-Key', 'abc'],
    ['CF-Access-Client-Id = a=b; c ', 'CF-Access-Client-Id', 'a=b; c'],
    ['User-Agent=Mozilla/5.0', 'User-Agent', 'Mozilla/5.0'],
    ['Cookie=a=1; b=2', 'Cookie', 'a=1; b=2'],
  ])('The gateway header %j is accepted', (text, name, value) => {
    const header = parseHeaderOption(text);
    expect([header.name, header.value.reveal()]).toEqual([name, value]);
    expect(JSON.stringify(header)).not.toContain(value);
  });

  it.each<[string, RegExp]>([
    ['X-Key', /NAME=VALUE/],
    ['=hidden', /NAME=VALUE/],
    ['X Key=hidden', /characters/],
    ['X-Key:=hidden', /characters/],
    ['X-Key=', /no value for X-Key/],
    ['X-Key=hidden\r\nX-Other: b', /no value for X-Key, or one with characters/],
    ['X-Key=hidden\nb', /no value for X-Key, or one with characters/],
    ['X-Key=hidden\u0000', /no value for X-Key, or one with characters/],
    ['X-Key=hidden\u20ac', /no value for X-Key, or one with characters/],
    ['host=hidden', /sets host, .* use --host-header/],
    ...[
      'Connection',
      'Upgrade',
      'Transfer-Encoding',
      'Content-Length',
      'Authorization',
      'Proxy-Authorization',
      'Culvert-Authorization',
      'culvert-cluster',
      'Sec-WebSocket-Protocol',
      'Date',
    ].map((name): [string, RegExp] => [`${name}=hidden`, new RegExp(`sets ${name}, which this`)]),
  ])(
    'The gateway header %j is refused, and the message does not repeat its value',
    (text, sentence) => {
      expect(() => parseHeaderOption(text)).toThrow(GatewayHeaderError);
      expect(() => parseHeaderOption(text)).toThrow(sentence);
      expect(() => parseHeaderOption(text)).toThrow(/^(?!.*hidden)/);
    },
  );

  it('A gateway header that is given twice is refused', () => {
    const headers = [parseHeaderOption('X-Key=a'), parseHeaderOption('x-key=b')];
    expect(() => joinHeaders(headers)).toThrow('the header x-key is given twice');
    expect(joinHeaders(headers.slice(1))).toEqual({ 'x-key': 'b' });
  });
});

describe('readHeaderFile', () => {
  it('A header file has one gateway header on each line', async () => {
    const path = await written('\uFEFFX-Id: a: b\r\n\r\n  X-Secret:c\n');
    expect(joinHeaders(await readHeaderFile(path))).toEqual({ 'X-Id': 'a: b', 'X-Secret': 'c' });
  });

  it.each<[string, RegExp]>([
    ['', /has no line NAME: VALUE/],
    ['X-A: 1\nhidden\n', /^line 2 of .*headers is not NAME: VALUE/],
    ['X-A: hid\u0001den', /^line 1 of .*headers has no value for X-A/],
    ['Upgrade: hidden', /^line 1 of .*headers sets Upgrade/],
    ['X-A: hidden\n'.repeat(2000), /more than 16384/],
  ])(
    'A header file with %j is refused, and the message does not repeat a value',
    async (text, sentence) => {
      const failure = readHeaderFile(await written(text));
      await expect(failure).rejects.toThrow(sentence);
      await expect(failure).rejects.toThrow(/^(?!.*hidden)/);
    },
  );

  it('A missing header file is an error that names the file', async () => {
    await expect(readHeaderFile(join(directory, 'nowhere'))).rejects.toThrow(/nowhere/);
  });
});
