import { fileURLToPath } from 'node:url';
import {
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  loadPackageDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/**
 * A client's packet. 64-bit numbers are decimal strings, because `random` would lose its low bits
 * as a number.
 */
export type RequestPacket =
  | {
      readonly type: 'DIAL_REQ';
      readonly dialRequest: {
        readonly protocol: string;
        readonly address: string;
        readonly random: string;
      };
    }
  | {
      readonly type: 'DATA';
      readonly data: { readonly connectID: string; readonly data: Uint8Array };
    }
  | { readonly type: 'CLOSE_REQ'; readonly closeRequest: { readonly connectID: string } }
  | { readonly type: 'DIAL_CLS'; readonly closeDial: { readonly random: string } };

/**
 * A server's packet. Types that the client ignores are omitted. They come with a `type` of their
 * own.
 */
export type ResponsePacket =
  | {
      readonly type: 'DIAL_RSP';
      readonly dialResponse: {
        readonly error: string;
        readonly connectID: string;
        readonly random: string;
      };
    }
  | { readonly type: 'DATA'; readonly data: { readonly connectID: string; readonly data: Buffer } }
  | {
      readonly type: 'CLOSE_RSP';
      readonly closeResponse: { readonly error: string; readonly connectID: string };
    }
  | { readonly type: 'DIAL_CLS'; readonly closeDial: { readonly random: string } };

export type ProxyCall = ClientDuplexStream<RequestPacket, ResponsePacket>;

/** A gRPC client of konnectivity's ProxyService. */
export interface ProxyServiceClient extends Client {
  Proxy(): ProxyCall;
}

type ProxyServiceConstructor = new (
  address: string,
  credentials: ChannelCredentials,
  options: ClientOptions,
) => ProxyServiceClient;

const loaded = loadPackageDefinition(
  loadSync(fileURLToPath(new URL('konnectivity.proto', import.meta.url)), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  }),
);

export const ProxyService = loaded['ProxyService'] as unknown as ProxyServiceConstructor;
