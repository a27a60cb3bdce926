import { describe, expect, it } from 'vitest';
import { clusterOfSubject } from '../../../src/base/names/agent-subject.ts';
import { parseRegistration, registrationJson } from '../../../src/addon/api/registration-config.ts';
import {
  agentRegistrations,
  agentSecrets,
  organizationalUnitOf,
} from '../../../src/addon/api/agent-identity.ts';
import { hubSubject, nextRegistrations } from '../../../src/addon/cluster/registrations.ts';
import { addOn } from '../api/ocm-objects.ts';

const group = 'system:open-cluster-management:cluster:7up:addon:cluster-proxy';
const serviceAccount = 'system:serviceaccount:7up:cluster-proxy-agent';

const desired = agentRegistrations('7up', 'signer-1');
const kubeClientIn = (subject: object) => ({
  signerName: 'kubernetes.io/kube-apiserver-client',
  subject,
});

describe('agentRegistrations', () => {
  it('agentRegistrations registers the agent twice, in the name of its cluster', () => {
    const groups = [
      group,
      'system:open-cluster-management:addon:cluster-proxy',
      'system:authenticated',
    ];
    const user = `${group}:agent:cluster-proxy`;
    expect(desired).toEqual([
      {
        signer: 'kubernetes.io/kube-apiserver-client',
        user,
        groups,
        organizationalUnits: [],
      },
      {
        signer: 'open-cluster-management.io/proxy-agent-signer',
        user,
        groups,
        organizationalUnits: ['signer-1'],
      },
    ]);
  });

  it('agentRegistrations gives a subject by which the broker knows the cluster', () => {
    for (const { user, groups } of desired) {
      expect(clusterOfSubject({ commonName: user, organizations: groups })).toBe('7up');
    }
  });

  it("agentRegistrations uses Cluster Proxy's names of Secrets", () => {
    expect(agentSecrets).toEqual({
      hubKubeconfig: 'cluster-proxy-hub-kubeconfig',
      certificate: 'cluster-proxy-open-cluster-management.io-proxy-agent-signer-client-cert',
    });
  });

  it('agentRegistrations identifies a CA by a text that fits into an organizational unit', () => {
    expect(organizationalUnitOf('one')).not.toBe(organizationalUnitOf('two'));
    expect(organizationalUnitOf('one')).toMatch(/^signer-[0-9a-f]{48}$/);
  });
});

describe('registrations on the wire', () => {
  const { user, groups } = desired[0]!;
  const wire: [string, 'csr' | undefined, object[]][] = [
    [
      'v1alpha1',
      'csr',
      [
        kubeClientIn({ user, groups }),
        {
          signerName: 'open-cluster-management.io/proxy-agent-signer',
          subject: { user, groups, organizationUnit: ['signer-1'] },
        },
      ],
    ],
    [
      'v1beta1',
      'csr',
      [
        { type: 'kubeClient', kubeClient: { subject: { user, groups }, driver: 'csr' } },
        {
          type: 'customSigner',
          customSigner: {
            signerName: 'open-cluster-management.io/proxy-agent-signer',
            subject: { user, groups, organizationUnits: ['signer-1'] },
          },
        },
      ],
    ],
  ];
  it.each(wire)('Registrations are written and read in %s', (version, driver, json) => {
    expect(desired.map((one) => registrationJson(one, version, driver))).toEqual(json);
    expect(json.map((item) => parseRegistration({ ...item }))).toEqual(desired);
  });

  it('Registrations omit the driver if the klusterlet has not named it', () => {
    expect(registrationJson(desired[0]!, 'v1beta1', undefined)).toEqual({
      type: 'kubeClient',
      kubeClient: { subject: { user, groups } },
    });
  });

  it('Registrations name the driver in either version', () => {
    expect(addOn({ status: { kubeClientDriver: 'token' } }).driver).toBe('token');
    const registrations = [{ type: 'kubeClient', kubeClient: { subject: {}, driver: 'token' } }];
    expect(addOn({ version: 'v1beta1', status: { registrations } }).driver).toBe('token');
    expect(addOn({ status: { kubeClientDriver: 'smoke' } }).driver).toBeUndefined();
  });
});

describe('nextRegistrations', () => {
  const token = (registrations: object[] = []) =>
    addOn({ cluster: '7up', status: { kubeClientDriver: 'token', registrations } });
  const kubeClient = { signer: 'kubernetes.io/kube-apiserver-client', organizationalUnits: [] };

  it('nextRegistrations returns our registrations while certificates are used, whatever the status holds', () => {
    const addon = addOn({ status: { registrations: [kubeClientIn({ user: 'mallory' })] } });
    expect(nextRegistrations(desired, addon)).toBe(desired);
  });

  it.each([
    ['nothing', [], { user: '', groups: [] }],
    ['our own registration', [kubeClientIn({ user: desired[0]!.user })], { user: '', groups: [] }],
    [
      "the klusterlet's registration",
      [kubeClientIn({ user: serviceAccount })],
      { user: serviceAccount, groups: [] },
    ],
  ])(
    'nextRegistrations with tokens leaves the subject to the klusterlet if the status holds %s',
    (_, present, subject) => {
      expect(nextRegistrations(desired, token(present))).toEqual([
        { ...kubeClient, ...subject },
        desired[1],
      ]);
    },
  );
});

describe('hubSubject', () => {
  const addon = (driver: string | undefined, user?: string) =>
    addOn({
      cluster: '7up',
      status: {
        kubeClientDriver: driver,
        ...(user !== undefined && { registrations: [kubeClientIn({ user })] }),
      },
    });
  const apiGroup = 'rbac.authorization.k8s.io';

  it.each(['csr', undefined])(
    'hubSubject is the group of the cluster alone with the driver %s',
    (driver) => {
      expect(hubSubject(addon(driver, 'mallory'))).toEqual({
        kind: 'known',
        subject: { kind: 'Group', apiGroup, name: group },
      });
    },
  );

  it("hubSubject is the cluster's ServiceAccount with tokens", () => {
    expect(hubSubject(addon('token', serviceAccount))).toEqual({
      kind: 'known',
      subject: { kind: 'User', apiGroup, name: serviceAccount },
    });
  });

  it.each([undefined, '', `${group}:agent:cluster-proxy`])(
    'hubSubject waits for the klusterlet if the user is %j',
    (user) => {
      const subject = hubSubject(addon('token', user));
      expect(subject.kind).toBe('pending');
    },
  );

  it.each([
    'system:admin',
    'system:serviceaccount:other:cluster-proxy-agent',
    'system:open-cluster-management:cluster:other:addon:cluster-proxy:agent:x',
  ])('hubSubject gives no rights to %s', (user) => {
    const subject = hubSubject(addon('token', user));
    expect(subject).toMatchObject({
      kind: 'foreign',
      message: expect.stringContaining(`ManagedClusterAddOn 7up/cluster-proxy`),
    });
  });
});
