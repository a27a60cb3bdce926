import { describe, expect, it } from 'vitest';
import {
  defaultTlsProfile,
  readTlsProfile,
  tlsProfileHash,
} from '../../../src/addon/hub/tls-profile.ts';
import { argsOf, configurationOf, deploymentOf, hub, plan, tlsProfile } from './hub-fixture.ts';

const two = 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384';
const tlsArgsOf = (...parameters: Parameters<typeof plan>) =>
  argsOf(plan(...parameters)).filter((arg) => /^--(cipher-suites|tls-min-version)/.test(arg));

describe('readTlsProfile', () => {
  it.each([
    [{}, 'VersionTLS12', []],
    [{ minTLSVersion: ' ' }, 'VersionTLS12', []],
    [{ minTLSVersion: 'VersionTLS13' }, 'VersionTLS13', []],
    [{ minTLSVersion: 'TLSv1.3' }, 'VersionTLS13', []],
    [{ minTLSVersion: 'TLSv1.0' }, 'VersionTLS10', []],
    [{ cipherSuites: ` ${two.replace(',', ' ,, ')},` }, 'VersionTLS12', two.split(',')],
  ])('readTlsProfile reads %j', (data, minVersion, cipherSuites) => {
    expect(readTlsProfile(tlsProfile(data))).toEqual({
      profile: { minVersion, cipherSuites },
      problem: undefined,
      ignored: [],
    });
  });

  it('readTlsProfile returns the default if there is no ConfigMap', () => {
    expect(readTlsProfile(undefined).profile).toEqual(defaultTlsProfile);
  });

  it('readTlsProfile skips unknown suites and names them', () => {
    const { profile, ignored } = readTlsProfile(tlsProfile({ cipherSuites: `NULL,${two}` }));
    expect(profile?.cipherSuites).toEqual(two.split(','));
    expect(ignored).toEqual([
      {
        field: `ConfigMap ${hub}/ocm-tls-profile data.cipherSuites`,
        sentence: 'names NULL, which is unknown',
      },
    ]);
  });

  it.each([
    [{ minTLSVersion: 'VersionTLS14' }, 'minTLSVersion'],
    [{ minTLSVersion: '1.2' }, 'minTLSVersion'],
    [{ cipherSuites: 'NULL, MD5' }, 'cipherSuites'],
  ])('readTlsProfile refuses %j', (data, key) => {
    const { profile, problem } = readTlsProfile(tlsProfile(data));
    expect(profile).toBeUndefined();
    expect(problem?.field).toBe(`ConfigMap ${hub}/ocm-tls-profile data.${key}`);
  });
});

describe('the TLS of the brokers', () => {
  it('The TLS of the brokers is 1.2 by default, with the suites of the runtime', () => {
    expect(tlsArgsOf()).toEqual(['--tls-min-version=VersionTLS12']);
  });

  it('The TLS of the brokers is that of the profile, in the form that Cluster Proxy uses', () => {
    const data = { minTLSVersion: 'VersionTLS13', cipherSuites: two };
    expect(tlsArgsOf(configurationOf(), { tlsProfile: tlsProfile(data) })).toEqual([
      `--cipher-suites=${two}`,
      '--tls-min-version=VersionTLS13',
    ]);
  });

  it('The TLS of the brokers comes from the profile, or from additionalArgs if there is no profile', () => {
    const configuration = configurationOf({
      additionalArgs: ['--tls-min-version=VersionTLS11', `--cipher-suites=${two}`],
    });
    expect(tlsArgsOf(configuration)).toEqual([
      `--cipher-suites=${two}`,
      '--tls-min-version=VersionTLS11',
    ]);
    expect(tlsArgsOf(configuration, { tlsProfile: tlsProfile({}) })).toEqual([
      '--tls-min-version=VersionTLS12',
    ]);
  });

  it('The TLS of the brokers does not change, and does not get weaker, while the profile cannot be parsed', () => {
    const bad = plan(configurationOf(), { tlsProfile: tlsProfile({ minTLSVersion: 'x' }) });
    expect(bad.apply.map(({ kind }) => kind)).not.toContain('Deployment');
    expect(bad.apply.map(({ kind }) => kind)).toContain('Service');
    expect(bad.problems.map(({ field }) => field)).toEqual([
      `ConfigMap ${hub}/ocm-tls-profile data.minTLSVersion`,
    ]);
    const good = plan();
    expect(
      plan(configurationOf(), {
        tlsProfile: tlsProfile({ minTLSVersion: 'x' }),
        objects: good.apply,
      }).remove,
    ).toEqual([]);
  });

  it('The hash of the TLS profile is on the Deployment', () => {
    const { metadata } = deploymentOf(plan());
    const hash = metadata.annotations?.['proxy.open-cluster-management.io/tls-config-hash'];
    // printf '\\0VersionTLS12' | sha256sum | cut -c1-16
    expect(hash).toBe('a2ab04e887acfcef');
    expect(tlsProfileHash({ minVersion: 'VersionTLS13', cipherSuites: [] })).not.toBe(hash);
  });
});
