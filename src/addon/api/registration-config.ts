import { type Fields, fields, text, texts } from './fields.ts';

/** The signer of client certificates for the hub's kube-apiserver. */
export const kubeClientSigner = 'kubernetes.io/kube-apiserver-client';

/** An identity of the agent, for the certificates of `signer`. */
export type Registration = Readonly<ReturnType<typeof subjectOf>>;

/**
 * The agent's credential for the hub's kube-apiserver: a certificate, or a token of a
 * ServiceAccount that OCM creates. The klusterlet reports it. Undefined: it has not yet, or it is
 * too old to do so.
 */
export type KubeClientDriver = 'csr' | 'token' | undefined;

export function parseDriver(value: unknown): KubeClientDriver {
  return value === 'csr' || value === 'token' ? value : undefined;
}

/** Reads an entry of `status.registrations`, from either version of the API. */
export function parseRegistration(item: Fields): Registration {
  if (typeof item.signerName === 'string') return subjectOf(item.signerName, fields(item.subject));
  if (item.type === 'kubeClient') {
    return subjectOf(kubeClientSigner, fields(fields(item.kubeClient).subject));
  }
  const customSigner = fields(item.customSigner);
  return subjectOf(text(customSigner.signerName), fields(customSigner.subject));
}

function subjectOf(signer: string, subject: Fields) {
  return {
    signer,
    user: text(subject.user),
    groups: texts(subject.groups),
    // v1alpha1 has the singular, v1beta1 the plural.
    organizationalUnits: texts(subject.organizationUnit ?? subject.organizationUnits),
  };
}

/** An entry of `status.registrations`, for the version of the API that the object has. */
export function registrationJson(
  { signer, user, groups, organizationalUnits }: Registration,
  version: string,
  driver: KubeClientDriver,
): Fields {
  const unitsField = version === 'v1alpha1' ? 'organizationUnit' : 'organizationUnits';
  const subject = {
    user,
    ...(groups.length > 0 && { groups }),
    ...(organizationalUnits.length > 0 && { [unitsField]: organizationalUnits }),
  };
  if (version === 'v1alpha1') return { signerName: signer, subject };
  // The klusterlet owns the driver, but the list is written as a whole.
  const kubeClient = { subject, ...(driver && { driver }) };
  return signer === kubeClientSigner
    ? { type: 'kubeClient', kubeClient }
    : { type: 'customSigner', customSigner: { signerName: signer, subject } };
}
