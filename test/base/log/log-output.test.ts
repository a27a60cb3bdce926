import { describe, expect, it } from 'vitest';
import { LogOutput, type LogStream } from '../../../src/base/log/log-output.ts';

/** A stream that takes as many characters as the test allows. */
class StubStream implements LogStream {
  readonly taken: string[] = [];
  readonly #waiting: { readonly text: string; readonly written: () => void }[] = [];
  isRead = true;
  onError: (() => void) | undefined;

  get writableLength(): number {
    return this.#waiting.reduce((sum, { text }) => sum + text.length, 0);
  }

  write(text: string, written: () => void): void {
    this.#waiting.push({ text, written });
    if (this.isRead) this.take(1);
  }

  on(_event: 'error', listener: () => void): void {
    this.onError = listener;
  }

  take(lines: number): void {
    for (const { text, written } of this.#waiting.splice(0, lines)) {
      this.taken.push(text);
      written();
    }
  }
}

function output(maxQueuedLength = 100) {
  const stream = new StubStream();
  const log = new LogOutput(stream, { maxQueuedLength, dropNotice: (lines) => `${lines} dropped` });
  return { stream, log };
}

describe('LogOutput', () => {
  it('The log output passes lines on at once while its stream is read', () => {
    const { stream, log } = output();
    log.write('one');
    log.write('two');
    expect([stream.taken, log.droppedLines]).toEqual([['one', 'two'], 0]);
  });

  it('The log output keeps lines up to its limit while its stream is not read, and drops and counts further lines', () => {
    const { stream, log } = output();
    stream.isRead = false;
    for (let line = 0; line < 1000; line++) log.write('ten chars.');
    expect([stream.writableLength, log.droppedLines]).toEqual([100, 990]);
  });

  it('The log output reports the number of dropped lines once, when it can write again', () => {
    const { stream, log } = output();
    stream.isRead = false;
    for (let line = 0; line < 1000; line++) log.write('ten chars.');
    stream.take(4);
    expect(stream.writableLength).toBe(60);
    stream.isRead = true;
    stream.take(100);
    log.write('next');
    expect(stream.taken.filter((line) => line.includes('dropped'))).toEqual(['990 dropped']);
    expect(stream.taken.at(-1)).toBe('next');
    expect(log.droppedLines).toBe(990);
  });

  it('The log output survives the error of a stream whose reader is gone', () => {
    const { stream } = output();
    expect(stream.onError).toBeDefined();
    stream.onError!();
  });
});
