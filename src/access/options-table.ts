export const policyFileOption = {
  name: 'policy-file',
  kind: 'string',
  placeholder: 'FILE',
  help: 'The policy (YAML or JSON): which users, certificates and tokens reach which clusters and targets, and which are revoked. The file is read again when it changes. Default: every valid credential reaches every cluster.',
} as const;

/**
 * Options of a broker about rules for its clients. The table of the broker, which includes them,
 * checks their types, because the types of options need Node.
 */
export const accessTable = {
  policyFile: policyFileOption,
  hubAuthorization: {
    name: 'hub-authorization',
    kind: 'boolean',
    help: "Asks the hub's API server by SubjectAccessReview whether a client may use managedclusters/proxy of a cluster. It needs --kubernetes or --kubeconfig. With --policy-file, both must allow.",
  },
} as const;
