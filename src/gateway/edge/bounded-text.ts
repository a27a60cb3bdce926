/**
 * Reads the body of an answer as text. A body with more than `maxBytes` is cancelled, so a server
 * cannot fill the memory of the Worker.
 *
 * @returns undefined if the body has more bytes
 * @throws the error of the body, for example when the request is aborted
 */
export async function boundedText(
  { body }: Pick<Response, 'body'>,
  maxBytes: number,
): Promise<string | undefined> {
  if (body === null) return '';
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  for (let bytes = 0; ;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > maxBytes) {
      await reader.cancel();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
}
