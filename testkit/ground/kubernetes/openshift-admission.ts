/**
 * The first user of a namespace's range, which OpenShift's restricted-v2 gives to pods that name
 * none.
 */
export const namespaceUser = 1_000_680_000;
const lastUser = namespaceUser + 9_999;

/**
 * Flags of kube-apiserver that let it serve MutatingAdmissionPolicies, which are beta in Kubernetes
 * 1.34.
 */
export const mutatingPolicyFlags: readonly string[] = [
  '--feature-gates=MutatingAdmissionPolicy=true',
  '--runtime-config=admissionregistration.k8s.io/v1beta1=true',
];

/** The API group of security context constraints, by which helm recognizes OpenShift. */
const constraintsDefinition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'securitycontextconstraints.security.openshift.io' },
  spec: {
    group: 'security.openshift.io',
    scope: 'Cluster',
    names: { kind: 'SecurityContextConstraints', plural: 'securitycontextconstraints' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    ],
  },
};

const name = 'openshift-restricted-v2';
const pods = {
  apiGroups: [''],
  apiVersions: ['v1'],
  operations: ['CREATE'],
  resources: ['pods'],
};

const mutation = `Object{
  spec: Object.spec{
    securityContext: Object.spec.securityContext{
      fsGroup: has(object.spec.securityContext) && has(object.spec.securityContext.fsGroup)
        ? object.spec.securityContext.fsGroup : ${namespaceUser},
      seccompProfile: Object.spec.securityContext.seccompProfile{
        type: has(object.spec.securityContext) && has(object.spec.securityContext.seccompProfile)
          ? object.spec.securityContext.seccompProfile.type : 'RuntimeDefault'
      }
    },
    containers: object.spec.containers.map(c, Object.spec.containers{
      name: c.name,
      securityContext: Object.spec.containers.securityContext{
        runAsUser: has(c.securityContext) && has(c.securityContext.runAsUser)
          ? c.securityContext.runAsUser
          : has(object.spec.securityContext) && has(object.spec.securityContext.runAsUser)
            ? object.spec.securityContext.runAsUser : ${namespaceUser},
        allowPrivilegeEscalation:
          has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation)
            ? c.securityContext.allowPrivilegeEscalation : false
      }
    })
  }
}`;

const validations = [
  [
    `[has(object.spec.hostNetwork) && object.spec.hostNetwork, has(object.spec.hostPID) && object.spec.hostPID, has(object.spec.hostIPC) && object.spec.hostIPC].all(one, !one)`,
    'host namespaces are not allowed',
  ],
  [
    `!has(object.spec.volumes) || object.spec.volumes.all(v, has(v.configMap) || has(v.csi) || has(v.downwardAPI) || has(v.emptyDir) || has(v.ephemeral) || has(v.persistentVolumeClaim) || has(v.projected) || has(v.secret))`,
    'a kind of volume is not allowed',
  ],
  [
    `variables.all.all(c, c.securityContext.runAsUser >= ${namespaceUser} && c.securityContext.runAsUser <= ${lastUser})`,
    `runAsUser must be in the range ${namespaceUser} to ${lastUser}`,
  ],
  [
    `object.spec.securityContext.fsGroup >= ${namespaceUser} && object.spec.securityContext.fsGroup <= ${lastUser}`,
    `fsGroup must be in the range ${namespaceUser} to ${lastUser}`,
  ],
  [
    `object.spec.securityContext.seccompProfile.type == 'RuntimeDefault' && variables.all.all(c, !has(c.securityContext.seccompProfile) || c.securityContext.seccompProfile.type == 'RuntimeDefault')`,
    'the seccomp profile must be RuntimeDefault',
  ],
  [
    `variables.all.all(c, (!has(c.securityContext.privileged) || !c.securityContext.privileged) && !c.securityContext.allowPrivilegeEscalation)`,
    'privileges and their escalation are not allowed',
  ],
  [
    `variables.all.all(c, has(c.securityContext.capabilities) && has(c.securityContext.capabilities.drop) && 'ALL' in c.securityContext.capabilities.drop && (!has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(one, one == 'NET_BIND_SERVICE')))`,
    'all capabilities must be dropped',
  ],
] as const;

/**
 * Admission of pods as by OpenShift's SecurityContextConstraints `restricted-v2`, in these
 * namespaces: what a pod does not say is filled in, with a user and a group of the namespace's
 * range, then it is judged. One difference: capabilities that are not dropped are refused, where
 * OpenShift would drop them. Takes effect some moments after it is applied.
 *
 * Source:
 * https://docs.openshift.com/container-platform/4.16/authentication/managing-security-context-constraints.html
 */
export function openShiftAdmission(namespaces: readonly string[]): readonly object[] {
  const namespaceSelector = {
    matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: namespaces }],
  };
  const matchConstraints = { namespaceSelector, resourceRules: [pods] };
  return [
    constraintsDefinition,
    {
      apiVersion: 'admissionregistration.k8s.io/v1beta1',
      kind: 'MutatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        reinvocationPolicy: 'Never',
        matchConstraints,
        mutations: [
          { patchType: 'ApplyConfiguration', applyConfiguration: { expression: mutation } },
        ],
      },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1beta1',
      kind: 'MutatingAdmissionPolicyBinding',
      metadata: { name },
      spec: { policyName: name },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints,
        variables: [
          {
            name: 'all',
            expression:
              'object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])',
          },
        ],
        validations: validations.map(([expression, message]) => ({ expression, message })),
      },
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: { name },
      spec: { policyName: name, validationActions: ['Deny'] },
    },
  ];
}

/** For `kubectl delete`: what `openShiftAdmission` makes. */
export const openShiftAdmissionNames: readonly string[] = [
  `mutatingadmissionpolicybindings.admissionregistration.k8s.io/${name}`,
  `mutatingadmissionpolicies.admissionregistration.k8s.io/${name}`,
  `validatingadmissionpolicybindings.admissionregistration.k8s.io/${name}`,
  `validatingadmissionpolicies.admissionregistration.k8s.io/${name}`,
  `customresourcedefinitions.apiextensions.k8s.io/${constraintsDefinition.metadata.name}`,
];
