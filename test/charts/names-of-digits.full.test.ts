import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { chartDirectory, findHelm, objectsOf, type Values } from '../../testkit/kube/helm.ts';

const helm = await findHelm();
const digits = '20240101';

const charts: readonly ['agent' | 'cluster-proxy', Values][] = [
  [
    'agent',
    {
      clusterName: digits,
      brokerUrl: 'wss://broker.example.com',
      token: { secretName: digits, key: digits },
      httpClients: { enabled: true, serviceCaConfigMap: digits },
      headersSecretName: digits,
      proxy: { secretName: digits },
      imagePullSecrets: [digits],
      priorityClassName: digits,
      networkPolicies: { enabled: true },
    },
  ],
  [
    'cluster-proxy',
    {
      imagePullSecrets: [digits],
      proxyAgent: { imagePullSecrets: [digits] },
      installByPlacement: { placementName: digits, placementNamespace: digits },
      spokeAddonNamespace: digits,
      networkPolicies: { enabled: true },
      featureGates: { clusterProfile: true },
      enableServiceProxy: true,
      userServer: { enabled: true, signer: 'CertManager', issuerRef: { name: digits } },
      exposedServicesConfigMapName: digits,
      exposedServices: [{ namespace: digits, service: digits }],
    },
  ],
  // The Placement of the chart.
  ['cluster-proxy', {}],
];

function numbersIn(value: unknown): readonly number[] {
  if (typeof value === 'number') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

describeWith({ helm }, 'names of digits', ({ helm }) => {
  it.each(charts)(
    'Names of digits are texts in the objects of the chart %s with %j',
    async (chart, values) => {
      const args = ['template', digits, chartDirectory(chart), `--namespace=${digits}`];
      const text = await helm.run([...args, '--kube-version=1.34.4'], values);
      const wrong = objectsOf(text).filter((object) => numbersIn(object).includes(Number(digits)));
      expect(wrong.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([]);
    },
  );
});
