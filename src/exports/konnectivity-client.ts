/**
 * `culvert/konnectivity-client`: dials through any konnectivity server. Needs the packages
 * @grpc/grpc-js and
 * @grpc/proto-loader beside it.
 */
export { DialError, type DialFailureReason } from '../konnectivity-client/dial-error.ts';
export {
  KonnectivityClient,
  type DialOptions,
  type KonnectivityClientOptions,
} from '../konnectivity-client/konnectivity-client.ts';
