import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { earlierDefinition, writeEarlierChart } from './earlier-chart.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { chartDirectory, Helm, objectsOf, type Values } from '../../testkit/kube/helm.ts';

const programs = await findPrograms(apiServerPrograms);
const chart = chartDirectory('cluster-proxy');
const ns = 'hub-ns';

/** Everything that a value can bring into being. */
const everything: Values = {
  replicas: 3,
  imagePullSecrets: ['s'],
  nodeSelector: { a: 'b' },
  tolerations: [{ key: 'infra', operator: 'Exists' }],
  networkPolicies: { enabled: true },
  proxyServer: {
    entrypointIngress: { host: 'hub.example', annotations: { 'a/b': 'c' }, tlsSecretName: 't' },
    additionalSANs: ['foo'],
    enrolment: { secretName: 'enrolment' },
    resources: { limits: { memory: '1Gi', cpu: 2 } },
    nodeSelector: { a: 'b' },
    tolerations: [{ key: 'infra', operator: 'Exists' }],
  },
  proxyAgent: { allow: ['db.x.svc:5432'], imagePullSecrets: ['s'] },
  userServer: { enabled: true, additionalSANs: ['x'] },
  exposedServices: [{ namespace: 'a', service: 'b' }],
};
const agentValues: Values = {
  clusterName: 'c1',
  brokerUrl: 'wss://b',
  token: { value: 'x' },
  caBundle: '-----BEGIN CERTIFICATE-----',
  allow: ['a.b:1'],
  networkPolicies: { enabled: true },
  priorityClassName: 'system-cluster-critical',
};

describeWith({ programs }, 'The charts on a hub', ({ programs }) => {
  const helm = new Helm(programs.helm);
  let server: RunningApiServer;

  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    await server.kubectl(['create', 'namespace', ns]);
    await server.apply([
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: {
          name: 'restricted',
          labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
        },
      },
      {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'default', namespace: 'restricted' },
      },
    ]);
    await server.kubectl(['apply', '--server-side', '-f', join(chart, 'crds')]);
    await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  }, 60_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  const onHub = (args: readonly string[], values: Values = {}) =>
    helm.run([...args, '--namespace', ns], values, { kubeconfig: server.kubeconfigFile });

  describe('A dry run of the charts', () => {
    it.each([
      ['cluster-proxy', {}],
      ['cluster-proxy', everything],
      ['cluster-proxy', { proxyServer: { entrypointAddress: 'h' }, redis: { enabled: false } }],
      [
        'cluster-proxy',
        {
          proxyServer: {
            entrypointLoadBalancer: true,
            entrypointLoadBalancerAnnotations: { 'x/y': 'true' },
          },
        },
      ],
      ['agent', agentValues],
    ] as const)('The API server accepts every object of %s with %j', async (name, values) => {
      const objects = await helm.template(name, values);
      expect(objects.length).toBeGreaterThan(3);
      // As strict as a server can be: an unknown field is an error.
      await server.apply(objects, ['--dry-run=server', '--validate=strict']);
    });
  });

  it.each([
    ['cluster-proxy', everything],
    ['agent', agentValues],
  ] as const)(
    'The pods of %s are admitted in a namespace with restricted pod security',
    async (name, values) => {
      const deployments = (await helm.template(name, values)).filter(
        ({ kind }) => kind === 'Deployment',
      );
      expect(deployments.length).toBeGreaterThan(0);
      for (const { metadata, spec } of deployments) {
        const { template } = spec as { template: { spec: object } };
        // Accounts and classes are of another namespace: what is judged is the pod's security.
        const { priorityClassName: _, ...rest } = template.spec as { priorityClassName?: string };
        const pod = {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: metadata.name, namespace: 'restricted' },
          spec: { ...rest, serviceAccountName: 'default' },
        };
        await server.apply(pod, ['--dry-run=server']);
      }
    },
  );

  it('The pod of helm test is admitted in a namespace with restricted pod security', async () => {
    const file = 'templates/tests/request.yaml';
    const text = await helm.templateText('cluster-proxy', everything, [`--show-only=${file}`]);
    const [{ metadata, ...pod }] = objectsOf(text) as readonly [KubeObject];
    expect(metadata.annotations).toMatchObject({ 'helm.sh/hook': 'test' });
    const spec = { ...(pod['spec'] as object), serviceAccountName: 'default' };
    const restricted = { ...pod, metadata: { name: metadata.name, namespace: 'restricted' }, spec };
    await server.apply(restricted, ['--dry-run=server', '--validate=strict']);
  });

  it.each([
    [
      {},
      [
        'Broker: runs on this hub cluster and accepts tunnels from agents.',
        '2 brokers in hub-ns, with a Redis of their own',
        "Agents connect through the hub's kube-apiserver.",
        'kubectl get managedclusteraddon -A',
        'helm test noted -n hub-ns --logs --hide-notes',
        'Optional: agents can have an address of their own',
      ],
    ],
    [
      { redis: { enabled: false } },
      ["1 broker in hub-ns.\nAgents connect through the hub's kube-apiserver."],
    ],
    [{ proxyServer: { entrypointLoadBalancer: true } }, ['load balancer of the Service']],
    [
      { proxyServer: { enrolment: { secretName: 'enrolment' } } },
      [
        'create secret generic enrolment',
        '--from-file=public-keys.pem=culvert-token.key.pub',
        'culvert token agent --cluster NAME > token',
        'Set one of the optional values above as well',
      ],
    ],
    [
      {
        proxyServer: {
          entrypointAddress: 'h.example',
          entrypointIngress: { host: 'i.example' },
          entrypointLoadBalancer: true,
          entrypointLoadBalancerAnnotations: { 'a/b': 'c' },
          port: 443,
        },
      },
      [
        'Agents connect to h.example:443',
        'WARNING: these values have no effect, because the entrypoint is Hostname:\n  proxyServer.entrypointIngress\n  proxyServer.entrypointLoadBalancer\n  proxyServer.entrypointLoadBalancerAnnotations\n',
      ],
    ],
    [
      { proxyServer: { port: 443 } },
      [
        'WARNING: these values have no effect, because the entrypoint is PortForward:\n  proxyServer.port\n',
      ],
    ],
    [{ enableKubeApiProxy: false }, ['(not the kube-apiservers: enableKubeApiProxy is false)']],
    [
      { proxyServer: { entrypointAddress: 'h.example' } },
      ['Agents connect to h.example:8091', 'Service proxy-entrypoint, port 8091'],
    ],
    [
      {
        enableServiceProxy: true,
        featureGates: { clusterProfile: true },
        exposedServices: [{ namespace: 'a', service: 'b' }],
      },
      [
        'culvert kubeconfig --url https://cluster-proxy-addon-user.',
        'WARNING: nothing answers at port 9092 before the Secret cluster-proxy-user-serving-cert exists',
      ],
    ],
    [
      { enableServiceProxy: true, userServer: { enabled: true } },
      [
        'then use one:\n\n  kubectl -n hub-ns get secret proxy-server-ca',
        '\n  culvert kubeconfig --url https://cluster-proxy-addon-user.',
      ],
    ],
    [
      {
        userServer: { enabled: true, issuerRef: { name: 'x' } },
        featureGates: { clusterProfile: true },
        exposedServices: [{ namespace: 'a', service: 'b' }],
      },
      [
        'WARNING: these values have no effect without enableServiceProxy:\n  userServer.enabled\n  exposedServices\n  featureGates.clusterProfile\n',
        'for the certificate:\n  userServer.issuerRef\n',
      ],
    ],
    [
      {
        enableServiceProxy: true,
        userServer: { enabled: true, signer: 'Provided', additionalSANs: ['x'] },
      },
      [
        'WARNING: nothing answers at port 9092 before the Secret cluster-proxy-user-serving-cert exists',
        'for the certificate:\n  userServer.additionalSANs\n',
      ],
    ],
  ])('The notes of the chart are correct for the values %j', async (values: Values, words) => {
    const shown = await onHub(['install', 'noted', chart, '--dry-run=server'], values);
    const notes = shown.split('NOTES:')[1]!;
    for (const word of words) expect(notes).toContain(word);
    const warns = words.some((word) => word.startsWith('WARNING'));
    expect(notes.includes('WARNING')).toBe(warns);
    expect(notes.split('\n').filter((line) => line.length > 120)).toEqual([]);
    const proves = values['enableKubeApiProxy'] !== false;
    expect(notes.includes('helm test noted')).toBe(proves);
  });

  describe('An installed release of the cluster-proxy chart', () => {
    // The last of its tests takes it away.
    beforeAll(async () => {
      await onHub(['install', 'cluster-proxy', chart]);
    });

    it('The installed release keeps the password of its Redis at upgrades until another password is given', async () => {
      const password = async () => {
        const secret = await server.get<{ data: { password: string } }>(
          '-n',
          ns,
          'secret',
          'cluster-proxy-redis',
        );
        return Buffer.from(secret.data.password, 'base64').toString();
      };
      const first = await password();
      expect(first).toMatch(/^[A-Za-z0-9]{32}$/);
      await onHub(['upgrade', 'cluster-proxy', chart], { replicas: 3 });
      expect(await password()).toBe(first);
      await onHub(['upgrade', 'cluster-proxy', chart], { redis: { password: 'given0123456789a' } });
      expect(await password()).toBe('given0123456789a');
    });

    const may = [
      [
        'patch',
        'manifestworks.work.open-cluster-management.io/addon-cluster-proxy-deploy-0',
        'cluster1',
      ],
      [
        'create',
        'manifestworks.work.open-cluster-management.io/addon-cluster-proxy-deploy-0',
        'cluster1',
      ],
      ['patch', 'roles.rbac.authorization.k8s.io/cluster-proxy-addon-agent', 'cluster1'],
      ['create', 'rolebindings.rbac.authorization.k8s.io/cluster-proxy-addon-agent', 'cluster1'],
      ['patch', 'secrets/proxy-client', ns],
      ['patch', 'deployments.apps/cluster-proxy', ns],
      ['patch', 'serviceaccounts/cluster-proxy-proxy-server', ns],
      ['update', 'leases.coordination.k8s.io/cluster-proxy-addon-manager', ns],
      ['approve', 'signers.certificates.k8s.io/kubernetes.io/kube-apiserver-client', ''],
      ['sign', 'signers.certificates.k8s.io/open-cluster-management.io/proxy-agent-signer', ''],
    ] as const;
    const mayNot = [
      ['patch', 'manifestworks.work.open-cluster-management.io/klusterlet', 'cluster1'],
      ['create', 'manifestworks.work.open-cluster-management.io', 'cluster1'],
      ['delete', 'manifestworks.work.open-cluster-management.io/other', 'cluster1'],
      [
        'patch',
        'manifestworks.work.open-cluster-management.io/addon-cluster-proxy-deploy',
        'cluster1',
      ],
      ['get', 'secrets', 'kube-system'],
      ['patch', 'namespaces/kube-system', ''],
      ['get', 'secrets', 'cluster1'],
      ['create', 'pods', ns],
      ['create', 'pods/exec', ns],
      ['get', 'pods/portforward', ns],
      ['patch', 'deployments.apps/cluster-proxy-addon-manager', ns],
      ['create', 'deployments.apps', ns],
      ['patch', 'roles.rbac.authorization.k8s.io/admin', 'kube-system'],
      ['create', 'clusterrolebindings.rbac.authorization.k8s.io', ''],
      ['escalate', 'roles.rbac.authorization.k8s.io', ns],
      ['bind', 'clusterroles.rbac.authorization.k8s.io', ''],
      ['impersonate', 'users', ''],
      ['sign', 'signers.certificates.k8s.io/kubernetes.io/kube-apiserver-client', ''],
      ['approve', 'signers.certificates.k8s.io/kubernetes.io/kubelet-serving', ''],
      ['get', 'services/proxy/https:proxy-entrypoint:proxy-server', ns],
      ['create', 'namespaces', ''],
    ] as const;

    it.each([
      ...may.map((row) => [...row, true] as const),
      ...mayNot.map((row) => [...row, false] as const),
    ])(
      'The installed release lets the manager %s %s in %j: %j',
      async (verb, what, namespace, allowed) => {
        expect(await isAllowed(verb, what, namespace)).toBe(allowed);
      },
    );

    it('The installed release leaves only the CustomResourceDefinition after an uninstall', async () => {
      await onHub(['uninstall', 'cluster-proxy']);
      const kinds =
        'clusterrole,clusterrolebinding,deployment,secret,service,serviceaccount,role,rolebinding,clustermanagementaddon,managedproxyconfiguration,placement,managedclustersetbinding';
      const left = await server.get<{ items: readonly { metadata: { name: string } }[] }>(
        kinds,
        '-A',
      );
      const names = left.items.map(({ metadata }) => metadata.name);
      expect(names.filter((name) => name.includes('cluster-proxy'))).toEqual([]);
      expect(await server.kubectl(['get', 'crd', '-o', 'name'])).toContain(
        'managedproxyconfigurations',
      );
    });
  });

  /** Whether the manager may: as the API server decides, by a SubjectAccessReview. */
  async function isAllowed(verb: string, what: string, namespace: string): Promise<boolean> {
    // resource[.group][/subresource][/name]; a name may hold slashes, subresources are known.
    const [, resource = '', group = '', subresource = '', name = ''] =
      /^([a-z]+)(?:\.([a-z0-9.-]+))?(?:\/(exec|portforward|proxy)(?=\/|$))?(?:\/(.+))?$/.exec(
        what,
      )!;
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: `system:serviceaccount:${ns}:cluster-proxy`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${ns}`, 'system:authenticated'],
        resourceAttributes: { verb, group, resource, subresource, name, namespace },
      },
    };
    const input = JSON.stringify(review);
    const answer = await server.kubectl(['create', '-f', '-', '-o', 'json'], { input });
    return (JSON.parse(answer) as { status: { allowed: boolean } }).status.allowed;
  }
});

describeWith({ programs }, 'The chart on a hub that has Cluster Proxy 0.11', ({ programs }) => {
  const helm = new Helm(programs.helm);
  let server: RunningApiServer;
  let earlier: string;

  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    earlier = await writeEarlierChart(ns);
    await server.kubectl(['create', 'namespace', ns]);
    await server.apply(await earlierDefinition());
    await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
    await onHub(['install', 'cluster-proxy', earlier]);
    for (const name of ['cluster-proxy-signer', 'proxy-server-ca', 'proxy-client']) {
      await server.kubectl([
        '-n',
        ns,
        'create',
        'secret',
        'generic',
        name,
        '--from-literal=ca.crt=old',
      ]);
    }
  }, 60_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    if (earlier !== undefined) await rm(earlier, { recursive: true });
  });

  const onHub = (args: readonly string[], values: Values = {}) =>
    helm.run([...args, '--namespace', ns], values, { kubeconfig: server.kubeconfigFile });

  const kept = [
    'serviceaccount/cluster-proxy',
    'deployment/cluster-proxy-addon-manager',
    'role/open-cluster-management:cluster-proxy:addon-manager',
    'rolebinding/open-cluster-management:cluster-proxy:addon-manager',
    'clusterrole/open-cluster-management:cluster-proxy:addon-manager',
    'clusterrolebinding/open-cluster-management:cluster-proxy:addon-manager',
    'clustermanagementaddon/cluster-proxy',
    'managedproxyconfiguration/cluster-proxy',
    'placement/cluster-proxy-placement',
    'managedclustersetbinding/global',
    'secret/cluster-proxy-signer',
    'secret/proxy-server-ca',
    'secret/proxy-client',
  ];
  const uids = async () => {
    const uid = async (what: string) =>
      (await server.kubectl(['-n', ns, 'get', what, '-o', 'jsonpath={.metadata.uid}'])).trim();
    return Object.fromEntries(
      await Promise.all(kept.map(async (what) => [what, await uid(what)] as const)),
    );
  };

  it('The chart refuses values that the installed definition cannot store, and says what to do', async () => {
    const values = { proxyServer: { entrypointIngress: { host: 'h' } } };
    await expect(onHub(['upgrade', 'cluster-proxy', chart], values)).rejects.toThrow(
      /proxyServer\.entrypointIngress cannot be stored: the CustomResourceDefinition .* is older than this chart, .*Run `kubectl apply --server-side --force-conflicts -f crds\/`/,
    );
  });

  it('The chart upgrades Cluster Proxy 0.11 in place, and can be rolled back', async () => {
    const before = await uids();
    await onHub(['upgrade', 'cluster-proxy', chart]);
    expect(await uids()).toEqual(before);

    const deployment = await server.get('-n', ns, 'deployment', 'cluster-proxy-addon-manager');
    expect(deployment).toMatchObject({
      spec: {
        selector: {
          matchLabels: {
            'open-cluster-management.io/addon': 'cluster-proxy',
            component: 'cluster-proxy-manager',
          },
        },
        template: {
          spec: {
            serviceAccountName: 'cluster-proxy',
            containers: [{ name: 'manager', args: expect.arrayContaining(['addon']) }],
          },
        },
      },
    });
    // The old image's command would hide the new image's entrypoint.
    expect(deployment).not.toHaveProperty('spec.template.spec.containers.0.command');
    const role = 'open-cluster-management:cluster-proxy:addon-manager';
    const { rules } = await server.get<{ rules: { verbs: string[] }[] }>('clusterrole', role);
    expect(rules.flatMap(({ verbs }) => verbs)).not.toContain('*');

    await onHub(['rollback', 'cluster-proxy', '1']);
    expect(await uids()).toEqual(before);
    const back = await server.get('-n', ns, 'deployment', 'cluster-proxy-addon-manager');
    expect(back).toHaveProperty('spec.template.spec.containers.0.command', ['/manager']);
  });
});
