import { X509Error } from './reading.ts';

/** One block of a PEM text (RFC 7468). */
export interface PemBlock {
  /** `CERTIFICATE`, `PRIVATE KEY` and so on. */
  readonly label: string;
  /** The number of its BEGIN line, counted from 1. */
  readonly line: number;
  readonly der: Uint8Array<ArrayBuffer>;
}

/**
 * Splits a PEM text into its blocks, in their order. Text outside of blocks is a comment. A byte
 * order mark, CRLF and white space around lines are ignored.
 *
 * @throws X509Error the text is empty or binary, or a block is cut off or is not base64
 */
export function pemBlocks(text: string): readonly PemBlock[] {
  const problem = problemOfWhole(text);
  if (problem !== undefined) throw new X509Error(problem);
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly line: number; base64: string } | undefined;
  // In files that were joined without a line feed, END and BEGIN are on one line.
  const lines = text
    .replace(/(-----END [A-Z0-9 ]+-----)(?=-----BEGIN )/g, '$1\n')
    .split(/\r\n|\r|\n/);
  for (const [index, untrimmed] of lines.entries()) {
    const line = untrimmed.replace(/^\uFEFF/, '').trim();
    const [, edge, label = ''] = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----$/.exec(line) ?? [];
    if (edge === undefined && /^-+ ?(BEGIN|END)\b/.test(line)) {
      throw new X509Error(`line ${index + 1} is not a complete BEGIN or END line`);
    }
    if (edge === 'BEGIN') {
      if (open !== undefined) throw new X509Error(cutOff(open));
      open = { label, line: index + 1, base64: '' };
    } else if (edge === 'END') {
      if (open?.label !== label) {
        throw new X509Error(`line ${index + 1} ends a ${label} that does not begin before it`);
      }
      blocks.push({ label, line: open.line, der: decode(open) });
      open = undefined;
    } else if (open !== undefined) {
      open.base64 += line;
    }
  }
  if (open !== undefined) throw new X509Error(cutOff(open));
  return blocks;
}

/** Writes a PEM block with lines of 64 characters (RFC 7468, section 2). */
export function pemOf(label: string, der: Uint8Array): string {
  const base64 = btoa(Array.from(der, (byte) => String.fromCharCode(byte)).join(''));
  const lines = base64.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

function problemOfWhole(text: string): string | undefined {
  if (text.replace(/^\uFEFF/, '').trim() === '') return 'it is empty';
  // DER begins with the bytes 30 82 or 30 81, and neither 82 nor 81 begins a character in UTF-8.
  if (/^0[\u0080-\u009F\uFFFD]/.test(text)) {
    return 'it is binary (DER); convert it to PEM: openssl x509 -inform der -in FILE -out FILE.pem';
  }
  if (text.includes('\0')) return 'it is binary or UTF-16; write it as PEM in UTF-8';
  return undefined;
}

function decode({ label, line, base64 }: { label: string; line: number; base64: string }) {
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && base64.length % 4 === 0;
  if (!isBase64) {
    throw new X509Error(`the ${label} that begins in line ${line} is damaged: it is not base64`);
  }
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function cutOff({ label, line }: { readonly label: string; readonly line: number }): string {
  return `the ${label} that begins in line ${line} is cut off: its END line is missing`;
}
