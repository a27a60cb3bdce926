import { HandshakeError, type HandshakeErrorDetails } from './handshake-error.ts';
import { retryAfterMs, type HttpAnswer } from './http-answer.ts';

const maxQuotedLength = 160;

/** What an HTTP answer other than 101 means, in words. The body is quoted only where it is a broker's own sentence. */
export function refusal(url: URL, answer: HttpAnswer, body: string): HandshakeError {
  const { status } = answer;
  const details: HandshakeErrorDetails = { status, retryAfterMs: retryAfterMs(answer) };
  const where = `${url.host}${url.pathname}`;
  const said = `${where} answered ${status}${quote(answer, body)}`;
  if (status < 300) {
    const message = `${said} instead of opening a WebSocket; a login page or a web server answers there, check the URL`;
    return new HandshakeError('not_websocket', message, details);
  }
  return new HandshakeError(
    'rejected',
    `${said}; ${advice(answer, details.retryAfterMs)}`,
    details,
  );
}

function advice(answer: HttpAnswer, retryAfterMs: number | undefined): string {
  const later =
    retryAfterMs === undefined
      ? 'try again later'
      : `try again in ${Math.ceil(retryAfterMs / 1000)} s`;
  switch (answer.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return `it has moved to ${newPlace(answer)}, set the broker's URL to that`;
    case 401:
      return 'check that the token is there, not expired, and made with a key that the broker knows';
    case 403:
      return 'the token does not allow this; check which cluster it names';
    case 404:
      return 'no broker has such a path; check the URL';
    case 407:
      return 'a proxy on the way asks for credentials; set HTTPS_PROXY with user and password';
    case 429:
      return `too many connections at once, ${later}`;
    case 502:
    case 504:
      return `a gateway on the way does not reach the broker, ${later}`;
    case 503:
      return `nobody can serve this now, ${later}`;
    default:
      return "see the broker's log";
  }
}

/** Without the query, which may hold a secret. */
function newPlace(answer: HttpAnswer): string {
  const location = URL.parse(answer.headers.get('location') ?? '');
  return location === null ? 'another place' : printable(`${location.origin}${location.pathname}`);
}

function quote(answer: HttpAnswer, body: string): string {
  const type = answer.headers.get('content-type') ?? '';
  if (/\bjson\b/.test(type)) {
    const sentence = sentenceOf(body);
    return sentence === undefined ? '' : ` (${printable(sentence)})`;
  }
  if (!/\bhtml\b/.test(type)) return '';
  const title = /<title>([^<]*)/i.exec(body)?.[1]?.trim();
  return title ? ` with a web page titled "${printable(title)}"` : ' with a web page';
}

function sentenceOf(body: string): string | undefined {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

/** What a stranger wrote goes into a log on one line, and not at any length. */
function printable(text: string): string {
  const line = text.replaceAll(/[^\P{C} ]+/gu, ' ').trim();
  return line.length <= maxQuotedLength ? line : `${line.slice(0, maxQuotedLength)}…`;
}
