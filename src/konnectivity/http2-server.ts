import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
} from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { trustClientsOf } from '../base/tls/tls-trust.ts';
import type { GrpcStatus } from './front.ts';
import type { FrontLimits } from './front-limits.ts';
import type { TlsMaterial } from './tls-files.ts';

/**
 * A server with the bridge's limits. Without `tls` it speaks HTTP/2 in the clear, with prior
 * knowledge.
 */
export function createHttp2Server(
  limits: FrontLimits,
  tls: TlsMaterial | undefined,
): Http2Server | Http2SecureServer {
  const common = {
    settings: {
      initialWindowSize: limits.windowBytes,
      maxConcurrentStreams: limits.maxStreamsPerConnection,
    },
    // In megabytes. Beyond it new streams are refused. The default of 10 is too little for a
    // reusable tunnel.
    maxSessionMemory: 1024,
    // A client cancels every call that it has finished, and the defaults (1000, 33 per second) are
    // made for browsers. A reset call costs about 5 KiB until the garbage is collected, so the
    // burst is not larger than needed.
    streamResetBurst: 10_000,
    streamResetRate: 2_000,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  if (tls === undefined) return createServer(common);
  return createSecureServer({
    ...common,
    ...secureContext(tls),
    requestCert: tls.clientCa !== undefined,
    rejectUnauthorized: true,
    ALPNProtocols: ['h2'],
    handshakeTimeout: limits.handshakeTimeoutMs,
  });
}

/** The part of the server's options that changes with its files. */
export function secureContext({ cert, key, clientCa, choice }: TlsMaterial) {
  return { cert, key, ...(clientCa !== undefined && trustClientsOf(clientCa)), ...choice };
}

/** Answers a call with a head alone. */
export function answer(stream: ServerHttp2Stream, headers: Record<string, string | number>): void {
  stream.respond(headers, { endStream: true });
}

/** Answers a call with a gRPC status and without a body. */
export function refuse(stream: ServerHttp2Stream, status: GrpcStatus, message: string): void {
  answer(stream, {
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': String(status),
    'grpc-message': encodeURIComponent(message),
  });
}
