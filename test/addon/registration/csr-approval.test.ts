import { describe, expect, it } from 'vitest';
import { parseCertificateSigningRequest } from '../../../src/addon/api/certificate-signing-request.ts';
import { agentRegistrations } from '../../../src/addon/registration/agent-identity.ts';
import {
  approvalCondition,
  type CsrInput,
  decideCsr,
  labelledCluster,
  type RequestedCertificate,
} from '../../../src/addon/registration/csr-approval.ts';
import { addOn, managedCluster, nowMs } from './hub-objects.ts';

const kubeClient = 'kubernetes.io/kube-apiserver-client';
const agentSigner = 'open-cluster-management.io/proxy-agent-signer';
const group = 'system:open-cluster-management:cluster:cluster1:addon:cluster-proxy';

const klusterlet = {
  username: 'system:open-cluster-management:cluster1:agent9',
  groups: [
    'system:open-cluster-management:cluster1',
    'system:open-cluster-management:managed-clusters',
    'system:authenticated',
  ],
};

function csr(spec: object = {}, metadata: object = {}, conditions: object[] = []) {
  return parseCertificateSigningRequest({
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name: 'addon-cluster1-cluster-proxy-x7k2p',
      labels: {
        'open-cluster-management.io/cluster-name': 'cluster1',
        'open-cluster-management.io/addon-name': 'cluster-proxy',
      },
      ...metadata,
    },
    spec: {
      ...klusterlet,
      signerName: agentSigner,
      usages: ['digital signature', 'key encipherment', 'client auth'],
      ...spec,
    },
    status: { conditions },
  });
}

const requested: RequestedCertificate = {
  commonName: `${group}:agent:cluster-proxy`,
  organizations: [
    'system:authenticated',
    'system:open-cluster-management:addon:cluster-proxy',
    group,
  ],
  organizationalUnits: ['signer-1'],
  otherSubject: [],
  dnsNames: ['cluster-proxy.addon.open-cluster-management.io'],
  otherNames: [],
};

function input(parts: Partial<CsrInput> = {}): CsrInput {
  return {
    csr: csr(),
    cluster: managedCluster(),
    addon: addOn(),
    registrations: agentRegistrations('cluster1', 'signer-1'),
    request: requested,
    ...parts,
  };
}

const grpcServer = 'system:serviceaccount:open-cluster-management-hub:grpc-server-sa';

describe('decideCsr', () => {
  const approved: [string, Partial<CsrInput>][] = [
    ['what the klusterlet asks for its agent', {}],
    [
      'the certificate for the kube-apiserver',
      {
        csr: csr({ signerName: kubeClient }),
        request: { ...requested, organizationalUnits: [] },
      },
    ],
    ['a request without alternative names', { request: { ...requested, dnsNames: [] } }],
    ['a request for client auth alone', { csr: csr({ usages: ['client auth'] }) }],
    [
      "what the hub's gRPC server passes on for the klusterlet",
      {
        csr: csr(
          { username: grpcServer, groups: ['system:serviceaccounts'] },
          { annotations: { 'open-cluster-management.io/csr-user': klusterlet.username } },
        ),
      },
    ],
    [
      "the agent's certificate where the kube-apiserver takes tokens",
      { addon: addOn({ status: { kubeClientDriver: 'token' } }) },
    ],
  ];
  it.each(approved)('approves %s', (_, parts) => {
    expect(decideCsr(input(parts))).toMatchObject({
      t: 'approve',
      reason: 'AutoApprovedByHubCSRApprovingController',
    });
  });

  const other = 'system:open-cluster-management:cluster2:agent9';
  const denied: [string, string, Partial<CsrInput>][] = [
    [
      'ForeignRequester',
      'made by the klusterlet of cluster2',
      {
        csr: csr({ username: other, groups: ['system:open-cluster-management:cluster2'] }),
      },
    ],
    [
      'ForeignRequester',
      'made by the klusterlet of cluster2',
      {
        csr: csr(
          { username: grpcServer },
          { annotations: { 'open-cluster-management.io/csr-user': other } },
        ),
      },
    ],
    [
      'ForeignSigner',
      'kubernetes.io/kubelet-serving',
      { csr: csr({ signerName: 'kubernetes.io/kubelet-serving' }) },
    ],
    [
      'ForeignSigner',
      kubeClient,
      {
        csr: csr({ signerName: kubeClient }),
        addon: addOn({ status: { kubeClientDriver: 'token' } }),
        request: { ...requested, organizationalUnits: [] },
      },
    ],
    ['Unreadable', 'no PEM', { request: new Error('no PEM') }],
    ...(
      [
        ['common name', { commonName: requested.commonName.replaceAll('cluster1', 'cluster2') }],
        ['common name', { commonName: `${requested.commonName}2` }],
        ['common name', { commonName: '' }],
        ['organizations', { organizations: requested.organizations.slice(0, 2) }],
        ['organizations', { organizations: [...requested.organizations, 'system:masters'] }],
        ['organizational units', { organizationalUnits: ['signer-0'] }],
        ['organizational units', { organizationalUnits: [] }],
        ['organizational units', { organizationalUnits: ['signer-1', 'more'] }],
        ['other parts of the subject', { otherSubject: ['L=Berlin'] }],
        ['alternative names', { dnsNames: ['cluster2.proxy'] }],
        ['alternative names', { otherNames: ['127.0.0.1'] }],
      ] satisfies [string, Partial<RequestedCertificate>][]
    ).map(([what, parts]): [string, string, Partial<CsrInput>] => [
      'ForeignSubject',
      what,
      { request: { ...requested, ...parts } },
    ]),
    ['ForeignSubject', 'server auth', { csr: csr({ usages: ['client auth', 'server auth'] }) }],
    ['ForeignSubject', 'lack "client auth"', { csr: csr({ usages: ['digital signature'] }) }],
  ];
  it.each(denied)('denies as %s, naming %s', (reason, words, parts) => {
    const decision = decideCsr(input(parts));
    expect(decision).toMatchObject({ t: 'deny', reason });
    expect(decision.message).toContain(words);
    expect(decision.message).toContain('addon-cluster1-cluster-proxy-x7k2p');
  });

  const left: [string, string, Partial<CsrInput>][] = [
    ['NotOurs', 'another addon', { csr: csr({}, { labels: {} }) }],
    ['Decided', 'an approved request', { csr: csr({}, {}, [{ type: 'Approved' }]) }],
    ['Decided', 'a denied request', { csr: csr({}, {}, [{ type: 'Denied' }]) }],
    [
      'NotFromKlusterlet',
      'a request of a person',
      { csr: csr({ username: 'alice', groups: ['system:authenticated'] }) },
    ],
    [
      'NotFromKlusterlet',
      "a user name like the klusterlet's without its group",
      { csr: csr({ groups: ['system:authenticated'] }) },
    ],
    [
      'NotFromKlusterlet',
      'an agent of an addon, whose name begins like a klusterlet',
      {
        csr: csr({
          username: `${group}:agent:cluster-proxy`,
          groups: ['system:open-cluster-management:cluster'],
        }),
      },
    ],
    [
      'NotFromKlusterlet',
      'a request through the gRPC server that names nobody',
      { csr: csr({ username: grpcServer }) },
    ],
    [
      'NotFromKlusterlet',
      'an annotation that anybody else wrote',
      {
        csr: csr(
          { username: 'alice', groups: [] },
          { annotations: { 'open-cluster-management.io/csr-user': klusterlet.username } },
        ),
      },
    ],
    ['NoCluster', 'a cluster that is unknown', { cluster: undefined }],
    [
      'NoCluster',
      'a cluster that is going',
      { cluster: managedCluster({ metadata: { deletionTimestamp: '2026-11-22T11:00:00Z' } }) },
    ],
    [
      'ClusterNotAccepted',
      'a cluster not accepted',
      { cluster: managedCluster({ isAccepted: false }) },
    ],
    ['NoAddOn', 'a cluster without the addon', { addon: undefined }],
  ];
  it.each(left)('leaves as %s %s', (reason, _, parts) => {
    expect(decideCsr(input(parts))).toMatchObject({ t: 'leave', reason });
  });

  it('quotes what a request says and keeps it short', () => {
    const organizations = Array.from({ length: 50 }, (_, n) => `${n}\n${'x'.repeat(4000)}`);
    const { message } = decideCsr(input({ request: { ...requested, organizations } }));
    expect(message.length).toBeLessThan(3000);
    expect(message).toContain('and 45 more');
    expect(message).not.toContain('\n');
  });

  it('knows the cluster of a request by its labels, of this addon alone', () => {
    expect(labelledCluster(csr())).toBe('cluster1');
    const labels = {
      'open-cluster-management.io/cluster-name': 'cluster1',
      'open-cluster-management.io/addon-name': 'other',
    };
    expect(labelledCluster(csr({}, { labels }))).toBeUndefined();
  });
});

describe('approvalCondition', () => {
  it.each([
    ['approve', 'Approved'],
    ['deny', 'Denied'],
  ] as const)('carries out %s as %s', (t, type) => {
    const decision = { t, reason: 'Why', message: 'because' };
    expect(approvalCondition(decision, nowMs)).toEqual({
      type,
      status: 'True',
      reason: 'Why',
      message: 'because',
      lastUpdateTime: '2026-11-22T12:00:00Z',
    });
  });
});
