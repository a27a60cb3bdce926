import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';
import type { HeaderField } from '../../src/http2/hpack-static-table.ts';
import {
  clientPreface,
  frameFlags,
  FrameSplitter,
  frameTypes,
  headers,
  settingIds,
  settings,
  settingsAck,
} from '../../testkit/http2/frames.ts';

/** node:http2's client (nghttp2) on a server that answers with literal bytes. */
interface Peer extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  /** The header blocks that the client has sent, in order. */
  readonly blocks: Buffer[];
}

const largestTableBytes = 64 * 1024;

/** @param tableBytes the server's SETTINGS_HEADER_TABLE_SIZE: the client's encoder follows it */
async function startPeer(answer: readonly HeaderField[], tableBytes: number): Promise<Peer> {
  const blocks: Buffer[] = [];
  let open: Buffer[] = [];
  const onSocket = (socket: Socket): void => {
    const splitter = new FrameSplitter();
    let skippedBytes = 0;
    socket.on('error', () => {});
    socket.write(settings([[settingIds.headerTableSize, tableBytes]]));
    socket.on('data', (bytes: Buffer) => {
      const skip = Math.min(bytes.length, clientPreface.length - skippedBytes);
      skippedBytes += skip;
      for (const { type, flags, stream, payload } of splitter.push(bytes.subarray(skip))) {
        if (type === frameTypes.settings && (flags & frameFlags.ack) === 0) {
          socket.write(settingsAck);
        }
        if (type !== frameTypes.headers && type !== frameTypes.continuation) continue;
        // node:http2 sends a priority of five bytes with HEADERS.
        const hasPriority = type === frameTypes.headers && (flags & frameFlags.priority) !== 0;
        open.push(payload.subarray(hasPriority ? 5 : 0));
        if ((flags & frameFlags.endHeaders) === 0) continue;
        blocks.push(Buffer.concat(open));
        open = [];
        socket.write(headers(stream, encodeHeaders(answer), frameFlags.endStream));
      }
    });
  };
  const server = createServer(onSocket).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const session = connect(`http://127.0.0.1:${port}`, {
    settings: { headerTableSize: largestTableBytes },
  });
  await once(session, 'remoteSettings');
  return {
    session,
    blocks,
    async [Symbol.asyncDispose]() {
      session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Sends a request without a body and returns the fields of the answer. */
async function request(session: ClientHttp2Session, sent: Readonly<Record<string, string>>) {
  const stream = session.request(sent, { endStream: true });
  const [received, , raw] = (await once(stream, 'response')) as [
    IncomingHttpHeaders,
    number,
    string[],
  ];
  stream.resume();
  if (!stream.closed) await once(stream, 'close');
  return { received, raw };
}

// node:http2 refuses names that HTTP does not allow, and gives some names a meaning.
const name = fc.stringMatching(/^x-[a-z0-9!#$%&'*+.^_`|~-]{1,20}$/);
const value = fc.oneof(
  fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/),
  fc.stringMatching(/^[\u0080-\u00ff]{1,30}$/),
  fc.constantFrom('', 'trailers', 'x'.repeat(3000), '0'),
);

describe('HPACK with nghttp2 as its peer', () => {
  it('The HPACK decoder reads what the encoder of nghttp2 writes, in tables of several sizes', async () => {
    // Few names, so that later requests find fields of earlier ones in the table.
    const requests = fc.array(fc.dictionary(fc.oneof(name, fc.constantFrom('x-a', 'x-b')), value), {
      minLength: 1,
      maxLength: 12,
    });
    const tableBytes = fc.constantFrom(0, 100, 4096, 8192, largestTableBytes);
    await fc.assert(
      fc.asyncProperty(requests, tableBytes, async (sent, bytes) => {
        await using peer = await startPeer([{ name: ':status', value: '200' }], bytes);
        for (const fields of sent) {
          await request(peer.session, { ':path': '/ProxyService/Proxy', ...fields });
        }
        const decoder = new HpackDecoder({
          maxTableBytes: Math.max(4096, bytes),
          maxHeaderListBytes: 1024 * 1024,
        });
        const decoded = peer.blocks.map((block) => decoder.decode(block));
        for (const [at, fields] of sent.entries()) {
          const own = decoded[at]!.filter((field) => field.name.startsWith('x-'));
          expect(own).toEqual(
            Object.entries(fields).map(([key, text]) => ({ name: key, value: text })),
          );
          expect(decoded[at]).toContainEqual({ name: ':path', value: '/ProxyService/Proxy' });
        }
      }),
      { numRuns: 60 },
    );
  });

  it('The decoder of nghttp2 reads what the HPACK encoder writes', async () => {
    const answers = fc.uniqueArray(fc.tuple(name, value), {
      selector: ([key]) => key,
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(answers, async (pairs) => {
        const fields = [
          { name: ':status', value: '200' },
          { name: 'content-type', value: 'application/grpc' },
          ...pairs.map(([key, text]) => ({ name: key, value: text })),
        ];
        await using peer = await startPeer(fields, 4096);
        const { raw } = await request(peer.session, { ':path': '/' });
        expect(raw).toEqual(fields.flatMap((field) => [field.name, field.value]));
      }),
      { numRuns: 60 },
    );
  });
});
