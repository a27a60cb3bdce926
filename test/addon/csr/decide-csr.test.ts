import { describe, expect, it } from 'vitest';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import {
  decisionCondition,
  type CsrInput,
  decideCsr,
  labelledCluster,
} from '../../../src/addon/csr/decide-csr.ts';
import { csr, type CsrParts, klusterlet, kubeSigner } from './csr-objects.ts';
import { addOn, managedCluster, nowMs } from '../api/ocm-objects.ts';

type Owners = Partial<Pick<CsrInput, 'cluster' | 'addon'>>;
const decide = async (parts: CsrParts = {}, owners: Owners = {}) =>
  decideCsr({
    csr: await csr(parts),
    cluster: managedCluster(),
    addon: addOn(),
    registrations: agentRegistrations('cluster1', 'signer-1'),
    ...owners,
  });

const name = 'addon-cluster1-cluster-proxy-x7k2p';
const grpcServer = 'system:serviceaccount:open-cluster-management-hub:grpc-server-sa';
const asked = (by: string) => ({ annotations: { 'open-cluster-management.io/csr-user': by } });
/** A request that OCM's gRPC server made for a klusterlet. */
const passedOn = (metadata: object = {}): CsrParts => ({
  spec: { username: grpcServer, groups: ['system:serviceaccounts'] },
  metadata: { name, labels: labels('cluster-proxy'), ...metadata },
});
const labels = (addon: string) => ({
  'open-cluster-management.io/cluster-name': 'cluster1',
  'open-cluster-management.io/addon-name': addon,
});

describe('decideCsr', () => {
  it.each<[string, CsrParts]>([
    ['what the klusterlet asks for its agent', {}],
    ['the certificate for the kube-apiserver', { signer: kubeSigner }],
    [
      "what the hub's gRPC server passes on for the klusterlet",
      passedOn(asked(klusterlet('cluster1').username)),
    ],
  ])('decideCsr approves %s', async (_, parts) => {
    expect(await decide(parts)).toMatchObject({
      kind: 'approve',
      reason: 'AutoApprovedByHubCSRApprovingController',
    });
  });

  const other = klusterlet('cluster2');
  it.each<[string, string, CsrParts]>([
    ['ForeignRequester', 'made by the klusterlet of cluster2', { spec: other }],
    ['ForeignRequester', 'made by the klusterlet of cluster2', passedOn(asked(other.username))],
    // The name cluster1 is a prefix of cluster12.
    ['ForeignRequester', 'made by the klusterlet of cluster12', { spec: klusterlet('cluster12') }],
    ['ForeignSigner', 'kubelet-serving', { spec: { signerName: 'kubernetes.io/kubelet-serving' } }],
    ['Unreadable', 'has no readable request', { pem: 'no PEM' }],
    ['ForeignSubject', 'asks for more', { subject: { organizations: ['system:masters'] } }],
  ])('decideCsr denies as %s, with a message that contains "%s"', async (reason, words, parts) => {
    const decision = await decide(parts);
    expect(decision).toMatchObject({ kind: 'deny', reason });
    expect(decision.message).toContain(words);
    expect(decision.message).toContain(name);
  });

  const ofNobody = { username: 'alice', groups: ['system:authenticated'] };
  const agent = 'system:open-cluster-management:cluster:cluster1:addon:cluster-proxy:agent:x';
  it.each<[string, string, CsrParts, Owners?]>([
    ['NotOurs', 'another addon', { metadata: { name, labels: {} } }],
    ['Decided', 'an approved request', { conditions: [{ type: 'Approved' }] }],
    ['Decided', 'a denied request', { conditions: [{ type: 'Denied' }] }],
    ['NotFromKlusterlet', 'a request of a person', { spec: ofNobody }],
    ['NotFromKlusterlet', 'a request without a user', { spec: { username: '' } }],
    [
      'NotFromKlusterlet',
      "a user name like the klusterlet's without its group",
      { spec: { groups: ['system:authenticated'] } },
    ],
    [
      'NotFromKlusterlet',
      'an agent of an addon, whose name begins like a klusterlet',
      { spec: { username: agent, groups: ['system:open-cluster-management:cluster'] } },
    ],
    ['NotFromKlusterlet', 'a request through the gRPC server that names no user', passedOn()],
    [
      'NotFromKlusterlet',
      'an annotation that another user wrote',
      { ...passedOn(asked(klusterlet('cluster1').username)), spec: ofNobody },
    ],
    ['NoCluster', 'a cluster that is unknown', {}, { cluster: undefined }],
    [
      'NoCluster',
      'a cluster that is being deleted',
      {},
      { cluster: managedCluster({ metadata: { deletionTimestamp: '2026-11-22T11:00:00Z' } }) },
    ],
    [
      'ClusterNotAccepted',
      'a cluster that is not accepted',
      {},
      { cluster: managedCluster({ isAccepted: false }) },
    ],
    ['NoAddOn', 'a cluster without the addon', {}, { addon: undefined }],
    [
      'NoAddOn',
      'a cluster whose addon is being deleted',
      {},
      { addon: addOn({ metadata: { deletionTimestamp: '2026-11-22T11:00:00Z' } }) },
    ],
  ])('decideCsr leaves as %s %s', async (reason, _, parts, owners) => {
    expect(await decide(parts, owners)).toMatchObject({ kind: 'leave', reason });
  });

  it('The cluster of a request is in its labels, if they name this addon', async () => {
    expect(labelledCluster(await csr())).toBe('cluster1');
    const ofAnother = await csr({ metadata: { name, labels: labels('other') } });
    expect(labelledCluster(ofAnother)).toBeUndefined();
  });
});

describe('decisionCondition', () => {
  it.each([
    ['approve', 'Approved'],
    ['deny', 'Denied'],
  ] as const)('decisionCondition turns the decision %s into the condition %s', (kind, type) => {
    const decision = { kind, reason: 'Why', message: 'because' };
    expect(decisionCondition(decision, nowMs)).toEqual({
      type,
      status: 'True',
      reason: 'Why',
      message: 'because',
      lastUpdateTime: '2026-11-22T12:00:00Z',
    });
  });
});
