import { type Fields, fields, text, texts } from './fields.ts';

/** The signer of client certificates for the hub's kube-apiserver. */
export const kubeClientSigner = 'kubernetes.io/kube-apiserver-client';

/** Who the agent is to the hub, as `signer` puts it into a certificate. */
export interface Registration {
  readonly signer: string;
  readonly user: string;
  readonly groups: readonly string[];
  readonly organizationalUnits: readonly string[];
}

/**
 * How the klusterlet gets the agent into the hub's kube-apiserver: with a certificate, or with a token of a ServiceAccount that OCM
 * makes. It says so itself; undefined: it has not yet, or is too old to.
 */
export type KubeClientDriver = 'csr' | 'token' | undefined;

export function parseDriver(value: unknown): KubeClientDriver {
  return value === 'csr' || value === 'token' ? value : undefined;
}

/** One of `status.registrations`, in either version of the API. */
export function parseRegistration(item: Fields): Registration {
  if (typeof item.signerName === 'string') return subjectOf(item.signerName, fields(item.subject));
  if (item.type === 'kubeClient') {
    return subjectOf(kubeClientSigner, fields(fields(item.kubeClient).subject));
  }
  const customSigner = fields(item.customSigner);
  return subjectOf(text(customSigner.signerName), fields(customSigner.subject));
}

function subjectOf(signer: string, subject: Fields): Registration {
  return {
    signer,
    user: text(subject.user),
    groups: texts(subject.groups),
    // v1alpha1 spells it in the singular, v1beta1 in the plural.
    organizationalUnits: texts(subject.organizationUnit ?? subject.organizationUnits),
  };
}

/** The same in the version of the object that it is written to. */
export function registrationJson(
  registration: Registration,
  version: string,
  driver: KubeClientDriver,
): Fields {
  const { signer, user, groups, organizationalUnits } = registration;
  const subject = { user, ...(groups.length > 0 && { groups }) };
  const hasUnits = organizationalUnits.length > 0;
  if (version === 'v1alpha1') {
    const unit = hasUnits && { organizationUnit: organizationalUnits };
    return { signerName: signer, subject: { ...subject, ...unit } };
  }
  if (signer === kubeClientSigner) {
    // The driver belongs to the klusterlet, but it stands in a list that is written as a whole.
    return { type: 'kubeClient', kubeClient: { subject, ...(driver && { driver }) } };
  }
  const units = hasUnits && { organizationUnits: organizationalUnits };
  return {
    type: 'customSigner',
    customSigner: { signerName: signer, subject: { ...subject, ...units } },
  };
}
