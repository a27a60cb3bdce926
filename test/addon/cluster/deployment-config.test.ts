import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { managedCluster } from '../api/ocm-objects.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import {
  agentInput,
  configuredInput,
  deployment,
  manifest,
  problemsOf,
  rendered,
  trusted,
  variables,
} from './agent-inputs.ts';

describe('customizedVariables', () => {
  it('customizedVariables set the replicas, and nothing else changes the replicas', () => {
    expect(deployment(configuredInput(variables({ replicas: '7' }))).replicas).toBe(7);
    expect(deployment(configuredInput({})).replicas).toBe(2);
  });

  it('customizedVariables set the domain of Services', () => {
    const input = configuredInput(variables({ serviceDomain: 'svc.corp.local' }), {
      proxy: { ...agentInput().proxy, flags: [{ name: 'kube-apiserver', value: 'elsewhere:1' }] },
    });
    const args = deployment(input).container.args.filter((arg) => arg.includes('kube-apiserver'));
    expect(args).toEqual(['--kube-apiserver=kubernetes.default.svc.corp.local']);
  });

  it("customizedVariables override the manager's option whether a cluster's name leads to its kube-apiserver", () => {
    const off = '--enable-kube-api-proxy=false';
    const args = (enableKubeApiProxy: boolean, value?: string) => {
      const spec = value === undefined ? {} : variables({ enableKubeApiProxy: value });
      return deployment(configuredInput(spec, { enableKubeApiProxy })).container.args;
    };
    expect(args(true)).not.toContain(off);
    expect(args(false)).toContain(off);
    expect(args(true, 'false')).toContain(off);
    expect(args(false, 'true')).not.toContain(off);
  });

  it('customizedVariables set the name of the Deployment', () => {
    const input = configuredInput(variables({ agentDeploymentName: 'tunnel' }));
    expect(deployment(input).object.metadata.name).toBe('tunnel');
  });

  it.each([
    ['enableKubeApiProxy', 'no', 'is neither true nor false'],
    ['replicas', 'three', 'is not a whole number'],
    ['replicas', '-1', 'is too small, at least 0'],
    ['replicas', '1000000', 'is too large, at most 100'],
    ['replicas', '', 'is not a whole number'],
    ['serviceDomain', 'svc..local', 'is not a DNS domain'],
    ['serviceDomain', 'a --cluster=other', 'is not a DNS domain'],
    ['serviceEntryPoint', 'https://x', 'is not a host name or IP address'],
    ['serviceEntryPoint', 'host:8091', 'is not a host name or IP address'],
    ['serviceEntryPoint', '', 'is not a host name or IP address'],
    ['serviceEntryPointPort', '0', 'is too small, at least 1'],
    ['serviceEntryPointPort', '70000', 'is too large'],
    ['agentDeploymentName', 'Not_A_Name', 'is not a name for a Deployment'],
    ['tag', 'a b', 'is not part of an image reference'],
    ['proxyAgentImage', '', 'is not part of an image reference'],
  ])(
    'customizedVariables with %s=%j are a problem that names object, variable and value',
    (name, value, words) => {
      const problem = problemsOf(configuredInput(variables({ [name]: value })));
      expect(problem).toContain(
        `AddOnDeploymentConfig config/deploy: customizedVariables ${name}=${JSON.stringify(value)} ${words}`,
      );
    },
  );

  it('customizedVariables report all problems at once', () => {
    const problem = problemsOf(configuredInput(variables({ replicas: 'x', tag: '' })));
    expect(problem).toContain('replicas="x"');
    expect(problem).toContain('tag=""');
  });

  it.each([
    ['serviceDomian', 'is unknown, did you mean serviceDomain?'],
    ['toString', 'is unknown'],
    ['agentIdentifiers', 'has no effect, names lead to a cluster by its certificate'],
    ['clusterName', 'has no effect, the cluster is that of the ManagedClusterAddOn'],
  ])(
    'customizedVariables with %s still deploy the agent, and the variable is reported',
    (name, words) => {
      const input = configuredInput(variables({ [name]: 'other' }));
      const { notices, works } = rendered(input);
      expect(notices).toEqual([expect.stringContaining(`the variable ${name} ${words}`)]);
      expect(works).toEqual(rendered(configuredInput({})).works);
    },
  );
});

describe('the image of the agent', () => {
  const image = 'quay.io/open-cluster-management/cluster-proxy:v1';
  const annotated = (registries: unknown) => ({
    cluster: managedCluster({
      metadata: {
        annotations: {
          'open-cluster-management.io/image-registries':
            typeof registries === 'string' ? registries : JSON.stringify({ registries }),
        },
      },
    }),
  });
  const imageOf = (spec: object, parts = {}, of = image) => {
    const proxy = { ...agentInput().proxy, image: of };
    return deployment(configuredInput(spec, { proxy, ...parts })).container.image;
  };
  const ocm = 'quay.io/open-cluster-management';

  it.each([
    ['is the same without mirrors', [], image],
    [
      'comes from a mirror',
      [{ source: ocm, mirror: 'm.example/ocm' }],
      'm.example/ocm/cluster-proxy:v1',
    ],
    [
      'comes from a mirror with slashes',
      [{ source: `${ocm}/`, mirror: 'm/' }],
      'm/cluster-proxy:v1',
    ],
    [
      'comes from a mirror of one image',
      [{ source: `${ocm}/cluster-proxy`, mirror: 'm/cp' }],
      'm/cp:v1',
    ],
    [
      'comes from any registry’s mirror',
      [{ source: '', mirror: 'm:5000/x' }],
      'm:5000/x/cluster-proxy:v1',
    ],
    ['is not changed by mirrors of other sources', [{ source: 'docker.io', mirror: 'm' }], image],
    ['is not changed by an empty mirror', [{ source: ocm, mirror: '' }], image],
    [
      'comes from the last mirror that matches, not the longest',
      [
        { source: `${ocm}/cluster-proxy`, mirror: 'first' },
        { source: 'quay.io', mirror: 'second' },
        { source: 'docker.io', mirror: 'third' },
      ],
      'second/open-cluster-management/cluster-proxy:v1',
    ],
  ])('The image of the agent %s, by cluster or by configuration', (_, registries, expected) => {
    expect(imageOf({ registries })).toBe(expected);
    expect(imageOf({}, annotated(registries))).toBe(expected);
  });

  it('The image of the agent comes from a mirror of the configuration before a mirror of the cluster', () => {
    const registries = [{ source: 'quay.io', mirror: 'config' }];
    const both = annotated([{ source: 'quay.io', mirror: 'cluster' }]);
    expect(imageOf({ registries }, both)).toBe('config/open-cluster-management/cluster-proxy:v1');
    const chained = annotated([{ source: 'config', mirror: 'never' }]);
    expect(imageOf({ registries }, chained)).toMatch(/^config\//);
    const other = { registries: [{ source: 'docker.io', mirror: 'config' }] };
    expect(imageOf(other, both)).toBe('cluster/open-cluster-management/cluster-proxy:v1');
  });

  it.each([
    [{ proxyAgentImage: 'a/b@sha256:00' }, image, 'a/b@sha256:00'],
    [{ proxyAgentImage: 'a/b:1', tag: 'v9' }, image, 'a/b:1'],
    [{ tag: 'v9' }, image, `${ocm}/cluster-proxy:v9`],
    [{ tag: 'v9' }, 'r:5000/cp', 'r:5000/cp:v9'],
    [{ tag: 'v9' }, 'r:5000/cp:v1@sha256:00', 'r:5000/cp:v9'],
    [{ registry: 'r:5000/x' }, image, 'r:5000/x/cluster-proxy:v1'],
    [{ registry: 'r' }, 'cp@sha256:00', 'r/cp@sha256:00'],
    [{ image: 'other' }, image, `${ocm}/other:v1`],
    [{ registry: 'r', image: 'i', tag: 't' }, image, 'r/i:t'],
  ])('The image of the agent follows the variables %j', (values, of, expected) => {
    expect(imageOf(variables(values), {}, of)).toBe(expected);
    const mirrors = annotated([{ source: 'a', mirror: 'never' }]);
    expect(imageOf(variables(values), mirrors, of)).toBe(expected);
  });

  it('The image of the agent is not guessed from an annotation that cannot be read', () => {
    expect(problemsOf(agentInput(annotated('{')))).toMatch(
      /^ManagedCluster cluster1: its annotation open-cluster-management.io\/image-registries is not JSON/,
    );
  });
});

describe('node placement', () => {
  const local = (annotation: string | undefined, label = 'true') => ({
    cluster: managedCluster({
      metadata: {
        labels: { 'local-cluster': label },
        annotations: { 'open-cluster-management/nodeSelector': annotation },
      },
    }),
  });
  const infra = [
    { key: 'dedicated', operator: 'Equal', value: 'infra', effect: 'NoSchedule' },
    { key: 'node-role.kubernetes.io/infra', operator: 'Exists', effect: 'NoSchedule' },
  ];

  it('Node placement tolerates infrastructure nodes and selects no nodes', () => {
    const { pod } = deployment(agentInput());
    expect(pod.tolerations).toEqual(infra);
    expect(pod).not.toHaveProperty('nodeSelector');
  });

  it.each(['true', 'True'])(
    'Node placement follows the annotation of a local cluster (%s)',
    (label) => {
      expect(deployment(agentInput(local('{"a":"b"}', label))).pod.nodeSelector).toEqual({
        a: 'b',
      });
    },
  );

  it.each([
    ['that is not the local one', local('{"a":"b"}', 'false')],
    ['without the annotation', local(undefined)],
  ])('Node placement selects no node in a cluster %s', (_, parts) => {
    expect(deployment(agentInput(parts)).pod).not.toHaveProperty('nodeSelector');
  });

  it.each(['{', '[]', '"a"', '{"a":1}'])(
    'Node placement is not guessed from the annotation %s',
    (annotation) => {
      expect(problemsOf(agentInput(local(annotation)))).toMatch(
        /^ManagedCluster cluster1: its annotation open-cluster-management\/nodeSelector is not a JSON object of strings/,
      );
    },
  );

  it('Node placement is replaced by the configuration as a whole', () => {
    const tolerations = [{ key: 'x', operator: 'Exists' }];
    const nodePlacement = { nodeSelector: { c: 'd' }, tolerations };
    const { pod } = deployment(configuredInput({ nodePlacement }, local('{"a":"b"}')));
    expect(pod).toMatchObject({ nodeSelector: { c: 'd' }, tolerations });
    const empty = deployment(configuredInput({ nodePlacement: {} }, local('{"a":"b"}'))).pod;
    expect(empty).not.toHaveProperty('nodeSelector');
    expect(empty).not.toHaveProperty('tolerations');
  });
});

describe('resourceRequirements', () => {
  const mine = { requests: { cpu: '1' } };
  const other = { limits: { memory: '1Gi' } };
  const resourcesOf = (...requirements: [string, object][]) =>
    deployment(
      configuredInput({
        resourceRequirements: requirements.map(([containerID, resources]) => ({
          containerID,
          resources,
        })),
      }),
    ).container.resources;
  const defaults = deployment(agentInput()).container.resources;

  it.each([
    ['deployments:cluster-proxy-proxy-agent:proxy-agent', mine],
    ['*:*:*', mine],
    ['deployments:*:proxy-agent', mine],
    ['deployments:cluster-proxy-*:*', mine],
    ['deployments:cluster-proxy-proxy-agent:addon-agent', defaults],
    ['daemonsets:*:*', defaults],
    ['deployments:cluster-proxy:proxy-agent', defaults],
    ['deployments:cluster.proxy-proxy-agent:*', defaults],
    ['nonsense', defaults],
    ['*:*:*:*', defaults],
  ])('resourceRequirements of %s give %j', (containerId, expected) => {
    expect(resourcesOf([containerId, mine])).toEqual(expected);
  });

  it('resourceRequirements use the last entry that matches', () => {
    const exact = 'deployments:cluster-proxy-proxy-agent:proxy-agent';
    expect(resourcesOf([exact, mine], ['*:*:*', other], ['pods:*:*', mine])).toEqual(other);
    expect(resourcesOf(['*:*:*', other], [exact, mine])).toEqual(mine);
  });

  it('resourceRequirements request little by default, and limit nothing', () => {
    expect(defaults).toEqual({ requests: { cpu: '20m', memory: '96Mi' } });
  });
});

describe('proxyConfig', () => {
  let ca: string;
  beforeAll(async () => {
    await using certificates = await makeTestCertificates();
    ca = await readFile(certificates.server.ca, 'utf8');
  });
  const own = agentInput().caBundle;
  const viaHub = { viaHub: 'hub/https:proxy-entrypoint:agent-server' } as const;
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const proxied = (proxyConfig: object) => configuredInput({ proxyConfig });
  const names = (input: ReturnType<typeof proxied>) =>
    deployment(input).container.env.map(({ name }) => name);

  it('proxyConfig becomes the environment of the agent', () => {
    const input = proxied({
      httpProxy: 'http://proxy:3128',
      httpsProxy: 'http://user:pa$$(X)@proxy:3128',
      noProxy: '10.0.0.0/8,.svc',
    });
    expect(deployment(input).container.env.slice(1)).toEqual([
      { name: 'HTTP_PROXY', value: 'http://proxy:3128' },
      { name: 'HTTPS_PROXY', value: 'http://user:pa$$$$(X)@proxy:3128' },
      { name: 'NO_PROXY', value: '10.0.0.0/8,.svc' },
    ]);
    expect(trusted(input)).toBe(own);
  });

  it('proxyConfig sets no environment if it is empty', () => {
    expect(names(agentInput())).toEqual(['POD_NAME']);
    expect(names(proxied({}))).toEqual(['POD_NAME']);
  });

  it.each(['httpProxy', 'httpsProxy'])(
    'proxyConfig adds the authorities of an https:// proxy (%s)',
    (which) => {
      const input = proxied({ [which]: 'https://proxy:3129', caBundle: base64(`# mine\n${ca}`) });
      expect(trusted(input)).toBe(`${own}${ca.trim()}\n`);
    },
  );

  it('proxyConfig adds no authority twice', () => {
    const input = proxied({ httpsProxy: 'https://proxy', caBundle: base64(`${ca}\r\n${ca}`) });
    expect(trusted(input).match(/BEGIN/g)).toHaveLength(2);
  });

  it.each(['http://proxy:3128', 'proxy:3128'])(
    "proxyConfig adds the authorities of a proxy (%s) that shows its own certificate for the entrypoint's name",
    (httpsProxy) => {
      const input = proxied({ httpsProxy, caBundle: base64(ca) });
      expect(trusted(input)).toBe(`${own}${ca.trim()}\n`);
      expect(rendered(input).notices).toEqual([]);
    },
  );

  it('proxyConfig adds authorities if the cluster has its own entrypoint', () => {
    const input = configuredInput(
      {
        proxyConfig: { httpsProxy: 'http://proxy', caBundle: base64(ca) },
        customizedVariables: [{ name: 'serviceEntryPoint', value: 'broker.example.com' }],
      },
      { entrypoint: viaHub },
    );
    expect(trusted(input)).toBe(`${own}${ca.trim()}\n`);
  });

  it.each([
    [
      "agents go through the hub's kube-apiserver, and trust it by the kubeconfig of the klusterlet; give the klusterlet this CA",
      { httpsProxy: 'http://proxy' },
      { entrypoint: viaHub },
    ],
    ['there is no httpsProxy', { httpProxy: 'http://proxy' }, {}],
    ['there is no httpsProxy', {}, {}],
  ])(
    'proxyConfig reports that authorities have no effect because %s',
    (reason, proxyConfig, parts) => {
      const input = configuredInput(
        { proxyConfig: { ...proxyConfig, caBundle: base64(ca) } },
        parts,
      );
      expect(trusted(input)).toBe(own);
      expect(rendered(input).notices).toEqual([
        `AddOnDeploymentConfig config/deploy: spec.proxyConfig.caBundle has no effect, ${reason}`,
      ]);
    },
  );

  it.each([
    ['there is no certificate', () => 'garbage'],
    ['the CERTIFICATE that begins in line 1 is cut off', () => ca.slice(0, 200)],
    [
      'the CERTIFICATE that begins in line 10 cannot be read',
      () => `${ca}\n-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n`,
    ],
  ])('proxyConfig does not pass on a bundle with a problem: %s', (words, pem) => {
    const input = proxied({ httpsProxy: 'https://proxy', caBundle: base64(pem()) });
    const where = 'AddOnDeploymentConfig config/deploy: spec.proxyConfig.caBundle';
    expect(problemsOf(input)).toContain(where);
    expect(problemsOf(input)).toContain(words);
  });
});

describe('the NetworkPolicy of the agent', () => {
  const policyPorts = (input: ReturnType<typeof agentInput>, apiServerPorts = [6443]) => {
    const { spec } = manifest(
      { ...input, enableNetworkPolicies: true, apiServerPorts },
      'NetworkPolicy',
    ) as unknown as {
      spec: { egress: { ports?: { port: number }[] }[] };
    };
    return spec.egress.map(({ ports }) => ports?.map(({ port }) => port));
  };
  const dns = [53, 53, 5353, 5353];

  it("The NetworkPolicy of the agent allows DNS, kube-apiservers, the entrypoint, and the kubelet's probes", () => {
    const entrypoint = { host: 'a', port: 8091 } as const;
    expect(policyPorts(agentInput({ entrypoint }))).toEqual([dns, [6443, 8091]]);
    const policy = manifest(agentInput({ enableNetworkPolicies: true }), 'NetworkPolicy');
    expect(policy['spec']).toMatchObject({
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: 8888 }] }],
    });
  });

  it.each([
    [{ httpsProxy: 'http://proxy:3128' }, [6443, 443, 3128]],
    [{ httpsProxy: 'https://proxy', httpProxy: 'http://proxy' }, [6443, 443, 80]],
    [{ httpsProxy: 'proxy:3128' }, [6443, 443, 3128]],
    [{ httpsProxy: 'http://[broken' }, [6443, 443]],
    [{ httpsProxy: 'http://user:22#rest@proxy:3128' }, [6443, 443]],
    [{ httpsProxy: 'socks5h://proxy' }, [6443, 443, 1080]],
  ])('The NetworkPolicy of the agent allows the proxy of %j', (proxyConfig, ports) => {
    expect(policyPorts(configuredInput({ proxyConfig }))).toEqual([dns, ports]);
  });

  it('The NetworkPolicy of the agent allows every destination when the agent has its own targets', () => {
    const proxy = { ...agentInput().proxy, allow: ['db:5432'] };
    expect(policyPorts(agentInput({ proxy }))).toEqual([dns, [6443, 443], undefined]);
  });

  it('The NetworkPolicy of the agent allows the port that the option kube-apiserver names', () => {
    const flags = [{ name: 'kube-apiserver', value: '10.0.0.1:16443' }];
    const proxy = { ...agentInput().proxy, flags };
    expect(policyPorts(agentInput({ proxy }))).toEqual([dns, [6443, 16_443, 443]]);
  });

  it('The NetworkPolicy of the agent allows every TCP port if the ports of kube-apiservers are not configured', () => {
    const egress = (
      manifest(agentInput({ enableNetworkPolicies: true }), 'NetworkPolicy')['spec'] as {
        egress: object[];
      }
    )['egress'];
    expect(egress[1]).toEqual({ ports: [{ protocol: 'TCP' }] });
  });
});
