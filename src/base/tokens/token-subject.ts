/**
 * The owner of an enrolment token: the agents of one cluster, or a named caller that opens streams
 * into the clusters in `clusters` (undefined: into every cluster).
 */
export type TokenSubject =
  | { readonly kind: 'agent'; readonly cluster: string }
  | {
      readonly kind: 'dialer';
      readonly name: string;
      readonly clusters?: readonly string[] | undefined;
      /** It may ask agents to use their own credentials, for users that it has authenticated. */
      readonly isGateway?: true;
    };

const callerName = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

/**
 * Whether a text can be the name of a dialer. Logs and policies contain the name, so it has neither
 * spaces nor control characters.
 */
export function isCallerName(text: string): boolean {
  return callerName.test(text);
}
