import { describe, expect, it } from 'vitest';
import { parseExposedServices } from '../../src/gateway/exposed-services.ts';
import { parseYaml } from '../../src/kube/client/parse-yaml.ts';

const parse = (text: string) => parseExposedServices({ key: text }, parseYaml);
const asked = { cluster: 'c1', scheme: 'http', namespace: 'n', name: 's', port: '80' } as const;

describe('The list of exposed Services', () => {
  it('An entry without port and protocol allows every port', () => {
    const services = parse('- namespace: n\n  service: s\n');
    expect(services.find(asked)).toHaveLength(1);
    expect(services.find({ ...asked, port: 'web', scheme: 'https' })).toHaveLength(1);
    expect(services.find({ ...asked, namespace: 'm' })).toEqual([]);
    expect(services.find({ ...asked, name: 'S' })).toEqual([]);
  });

  it('An entry may name port, protocol and clusters, and a port may be a number', () => {
    const services = parse(
      '- {namespace: n, service: s, port: 80, protocol: http, clusters: [c1]}\n' +
        '- {namespace: n, service: s, port: web, hubTokens: true}\n',
    );
    expect(services.find(asked)).toHaveLength(1);
    expect(services.find({ ...asked, port: '81' })).toEqual([]);
    expect(services.find({ ...asked, scheme: 'https' })).toEqual([]);
    expect(services.find({ ...asked, cluster: 'c2' })).toEqual([]);
    expect(services.find({ ...asked, port: 'web', cluster: 'c2' })[0]?.hubTokens).toBe(true);
  });

  it('All keys are merged, and empty texts are empty lists', () => {
    const lists = { a: '', b: '- {namespace: n, service: s}', c: '- {namespace: n, service: t}' };
    expect(parseExposedServices(lists, parseYaml).size).toBe(2);
  });

  it.each([
    ['- {namespace: n}', 'entry[0]: service is required'],
    ['- {service: s}', 'entry[0]: namespace is required'],
    ['- {namespace: n, service: s, color: red}', 'unknown field "color"'],
    ['- {namespace: n, service: s, service: t}', 'unique'],
    ['- {namespace: n, service: s, port: 1.5}', 'port must be'],
    ['- {namespace: n, service: s, protocol: tcp}', 'protocol must be'],
    ['- {namespace: n, service: s, clusters: c1}', 'clusters must be'],
    ['- {namespace: n, service: s, hubTokens: 1}', 'hubTokens must be'],
    ['- {namespace: 1, service: s}', 'namespace must be'],
    ['{namespace: n, service: s}', 'is not a list'],
    ['- text', 'is not an object'],
    ['- [', 'key "key"'],
  ])('The list %s is refused', (text, problem) => {
    expect(() => parse(text)).toThrow(problem);
  });
});
