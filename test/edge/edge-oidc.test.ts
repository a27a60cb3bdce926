import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { maxIssuerAnswerBytes } from '../../src/access/oidc-authenticator.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { EdgeOidc } from '../../src/gateway/edge/edge-oidc.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const issuerUrl = 'https://issuer.example';
const token = `e30.${btoa(JSON.stringify({ iss: issuerUrl }))}.x`;
const discovery = JSON.stringify({ issuer: issuerUrl, jwks_uri: `${issuerUrl}/keys` });
const piece = new TextEncoder().encode(' '.repeat(64 * 1024));
/** A reader without a limit ends here, so that the test fails and does not fill the memory. */
const endBytes = 4 * maxIssuerAnswerBytes;

/** A body of spaces and then `text`, and how much of it was read. */
function longBody(text: string) {
  const seen = { bytes: 0, isCancelled: false };
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (seen.bytes < endBytes) {
          seen.bytes += piece.length;
          controller.enqueue(piece);
          return;
        }
        controller.enqueue(new TextEncoder().encode(text));
        controller.close();
      },
      cancel() {
        seen.isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return { seen, body };
}

describe('An OIDC issuer of the Worker', () => {
  const warn = vi.fn();
  const answers = new Map<string, string | ReadableStream<Uint8Array>>();
  beforeEach(() => {
    answers.clear();
    warn.mockClear();
    vi.stubGlobal('fetch', async (url: URL) => new Response(answers.get(url.pathname)));
  });
  afterEach(() => vi.unstubAllGlobals());

  /** The error that the authenticator logs, after a token was refused for the lack of keys. */
  async function errorOfDiscovery(): Promise<unknown> {
    const log = { ...silentLogger, warn };
    const options = { issuerUrl, clientId: 'kubectl' };
    const oidc = new EdgeOidc(options, { clock: new VirtualClock(), log });
    await expect(oidc.authenticate(token)).rejects.toMatchObject({ code: 'unavailable' });
    return (warn.mock.lastCall?.[1] as { readonly error: unknown } | undefined)?.error;
  }

  it.each([
    ['discovery document', '/.well-known/openid-configuration', discovery],
    ['key set', '/keys', '{"keys":[]}'],
  ])('An OIDC issuer of the Worker is given up when its %s is too long', async (_, path, text) => {
    const { body, seen } = longBody(text);
    answers.set('/.well-known/openid-configuration', discovery).set(path, body);
    expect(await errorOfDiscovery()).toBe('the answer of issuer.example is too large');
    expect(seen).toEqual({ bytes: maxIssuerAnswerBytes + piece.length, isCancelled: true });
  });

  it('An OIDC issuer of the Worker that does not answer with JSON is named in the log', async () => {
    answers.set('/.well-known/openid-configuration', '<html>');
    expect(await errorOfDiscovery()).toBe('the answer of issuer.example is not JSON');
  });
});
