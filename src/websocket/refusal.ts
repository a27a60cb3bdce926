import { retryAfterMs, type HttpAnswer } from '../base/net/http-answer.ts';
import { ConnectError, type ConnectErrorDetails } from '../tunnel/connect-error.ts';

const maxQuotedLength = 160;

/**
 * Explains an HTTP answer other than 101. The body is quoted only if it is a broker's own sentence.
 */
export function refusal(url: URL, answer: HttpAnswer, body: string): ConnectError {
  const { status } = answer;
  const { code: brokerCode, message: sentence } = brokerAnswer(answer, body);
  const details: ConnectErrorDetails = {
    status,
    brokerCode,
    retryAfterMs: retryAfterMs(answer),
  };
  const where = `${url.host}${url.pathname}`;
  const quoted = sentence === undefined ? page(answer, body) : ` (${printable(sentence)})`;
  const said = `${where} answered ${status}${quoted}`;
  if (status < 300) {
    const message = `${said} instead of opening a WebSocket; a login page or a web server answers there, check the URL`;
    return new ConnectError('not_websocket', message, details);
  }
  return new ConnectError('rejected', `${said}; ${advice(answer, details)}`, details);
}

function advice(
  answer: HttpAnswer,
  { brokerCode, retryAfterMs }: Pick<ConnectErrorDetails, 'brokerCode' | 'retryAfterMs'>,
): string {
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
      return `it has moved to ${newLocation(answer)}, set the broker's URL to that`;
    case 401:
    case 403:
      if (brokerCode === undefined) {
        return "the answer is no broker's: a proxy or a firewall on the way refuses, check that it lets WebSockets to this address pass";
      }
      if (answer.status === 403)
        return 'the token does not allow this; check which cluster it names';
      return 'check that the token is there, not expired, and made with a key that the broker knows';
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

/** Without the query, because it may hold a secret. */
function newLocation(answer: HttpAnswer): string {
  const location = URL.parse(answer.headers.get('location') ?? '');
  return location === null
    ? 'another address'
    : printable(`${location.origin}${location.pathname}`);
}

function page(answer: HttpAnswer, body: string): string {
  if (!/\bhtml\b/.test(answer.headers.get('content-type') ?? '')) return '';
  const title = /<title>([^<]*)/i.exec(body)?.[1]?.trim();
  return title ? ` with a web page titled "${printable(title)}"` : ' with a web page';
}

/** Reads a broker's refusal: JSON with a code and a sentence. Empty if something else answered. */
function brokerAnswer(answer: HttpAnswer, body: string): { code?: string; message?: string } {
  if (!/^application\/json\b/i.test(answer.headers.get('content-type') ?? '')) return {};
  try {
    const { code, message } = JSON.parse(body) as { code?: unknown; message?: unknown };
    return typeof code === 'string' && typeof message === 'string' ? { code, message } : {};
  } catch {
    return {};
  }
}

/** Makes text of an unknown server safe for a log: one line of limited length. */
function printable(text: string): string {
  const line = text.replaceAll(/[^\P{C} ]+/gu, ' ').trim();
  return line.length <= maxQuotedLength ? line : `${line.slice(0, maxQuotedLength)}…`;
}
