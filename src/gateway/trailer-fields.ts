import type { HeaderList } from '../http-exchange/http-exchange.ts';

/**
 * Fields that are about the framing, the route, the credentials or the meaning of a message, so that
 * they have no place behind its body (RFC 9110, section 6.5.1). Some servers add trailers to the
 * fields of the head, where such a field would count although it was never checked.
 */
const neverTrailers =
  /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|host|content-.*|authorization|www-authenticate|proxy-.*|cookie|set-cookie|cache-control|expect|location|forwarded|x-forwarded-.*|x-remote-.*|impersonate-.*|cluster-proxy-.*)$/;

/** The trailers of a request or a response that may pass on, in their order and spelling. */
export function trailerFields(trailers: HeaderList | undefined): HeaderList | undefined {
  return trailers?.filter(([name]) => !neverTrailers.test(name.toLowerCase().replaceAll('_', '-')));
}
