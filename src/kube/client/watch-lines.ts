/**
 * Yields the lines of a byte stream, without line ends.
 *
 * @throws Error if a line is longer than `maxBytes`
 */
export async function* watchLines(
  bytes: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<string> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of bytes) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      rest.push(chunk.subarray(from, end));
      const line = Buffer.concat(rest).toString('utf8');
      [rest, restBytes, from] = [[], 0, end + 1];
      if (line !== '') yield line;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
    restBytes += chunk.length - from;
    if (restBytes > maxBytes) throw new Error(`a line has more than ${maxBytes} bytes`);
  }
}
