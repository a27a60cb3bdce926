import { describe, expect, it } from 'vitest';
import { DestinationPolicy } from '../../src/agent/destination-policy.ts';

function policy(
  allow: string[],
  kubeApiserver: { host: string; port?: number } | null = { host: 'kubernetes.default.svc' },
  installNamespace?: string,
) {
  return new DestinationPolicy({
    cluster: '1st-cluster',
    installNamespace,
    clusterAlias: 'cluster-abc',
    kubeApiserver: kubeApiserver
      ? { host: kubeApiserver.host, port: kubeApiserver.port }
      : undefined,
    allow,
  });
}

describe('DestinationPolicy', () => {
  it('The destination policy maps the name of the cluster to the kube-apiserver, at the requested port', () => {
    expect(policy([]).resolve('1st-cluster', 443)).toMatchObject({
      host: 'kubernetes.default.svc',
      port: 443,
    });
    expect(policy([]).resolve('cluster-abc', 8443)).toMatchObject({
      host: 'kubernetes.default.svc',
      port: 8443,
    });
  });

  it('The destination policy allows a host at some port if a rule names it, or if it is the kube-apiserver', () => {
    const named = policy(['web.shop.svc:80', '*.db.svc:*']);
    const hosts = ['web.shop.svc', 'a.db.svc', 'kubernetes.default.svc', 'other.shop.svc'];
    expect(hosts.map((host) => named.allowsHost(host))).toEqual([true, true, true, false]);
    expect(policy([], null).allowsHost('kubernetes.default.svc')).toBe(false);
  });

  describe('The name of the cluster with a namespace', () => {
    const apiserver = { host: 'kubernetes.default.svc' };
    const own = policy([], apiserver, 'proxies');

    it("The destination policy maps the cluster name with the agent's own namespace to the kube-apiserver", () => {
      const dialled = { host: 'kubernetes.default.svc', port: 6443 };
      expect(own.resolve('1st-cluster.proxies', 6443)).toMatchObject(dialled);
    });

    it.each([
      '1st-cluster.other',
      '1st-cluster.Proxies',
      '1st-cluster.proxies.',
      '1st-cluster.proxies.svc',
      '2nd-cluster.proxies',
      'cluster-abc.proxies',
      'proxies',
    ])('The destination policy does not map %s to the kube-apiserver', (host) => {
      expect(own.resolve(host, 443)).toBeUndefined();
    });

    it('The destination policy lists the names of the cluster', () => {
      expect(own.refusal('1st-cluster.other', 443)).toMatchObject({
        code: 'forbidden_target',
        message:
          'dial tcp 1st-cluster.other:443: no such name of the cluster: the agent runs in the namespace proxies, dial 1st-cluster or 1st-cluster.proxies',
      });
      const untold = policy([]);
      expect(untold.resolve('1st-cluster.proxies', 443)).toBeUndefined();
      expect(untold.refusal('1st-cluster.proxies', 443)).toMatchObject({
        code: 'forbidden_target',
        message: expect.stringContaining('was not told its namespace (--install-namespace)'),
      });
      expect(own.refusal('2nd-cluster.other', 443).message).toContain('(--allow ');
      expect(own.refusal('1st-cluster.a.b', 443).message).toContain('(--allow ');
    });

    it("The destination policy leaves a name with another namespace to the operator's list", () => {
      const listed = policy(['1st-cluster.corp:443'], apiserver, 'proxies');
      const corp = { host: '1st-cluster.corp', port: 443 };
      expect(listed.resolve(corp.host, corp.port)).toMatchObject(corp);
    });
  });

  it('The destination policy uses only the port of the kube-apiserver if a port is configured', () => {
    const fixed = policy([], { host: '10.0.0.1', port: 6443 });
    expect(fixed.resolve('1st-cluster', 443)).toMatchObject({ host: '10.0.0.1', port: 6443 });
    expect(fixed.resolve('10.0.0.1', 22)).toBeUndefined();
  });

  it('The destination policy refuses the name of the cluster if that is switched off, whatever else is allowed', () => {
    const off = policy(['*:443', 'db:1'], null);
    expect(off.resolve('1st-cluster', 443)).toBeUndefined();
    expect(off.resolve('cluster-abc', 443)).toBeUndefined();
    expect(policy([], null).resolve('kubernetes.default.svc', 443)).toBeUndefined();
    expect(off.resolve('db', 1)).toMatchObject({ host: 'db', port: 1 });
  });

  it('The destination policy allows nothing else by default', () => {
    expect(policy([]).resolve('db.internal', 5432)).toBeUndefined();
    expect(policy([]).resolve('127.0.0.1', 80)).toBeUndefined();
    expect(policy([]).resolve('2nd-cluster', 443)).toBeUndefined();
  });

  it.each([
    ['db.internal:5432', 'db.internal', 5432, true],
    ['db.internal:5432', 'DB.Internal.', 5432, true],
    ['db.internal:5432', 'db.internal', 5433, false],
    ['db.internal:*', 'db.internal', 1, true],
    ['*.svc:80', 'web.shop.svc', 80, true],
    ['*.svc:80', 'evilsvc', 80, false],
    ['*.svc:80', 'svc', 80, false],
    ['10.1.0.0/16:443', '10.1.2.3', 443, true],
    ['10.1.0.0/16:443', '10.2.2.3', 443, false],
    ['10.1.0.0/16:443', '10.1.2.3.example.com', 443, false],
    ['[fd00::/8]:443', 'fd12::1', 443, true],
    ['[::1]:443', '::1', 443, true],
    ['*:443', 'anything', 443, true],
  ])(
    'The destination policy with --allow %s, %s:%i is allowed: %s',
    (pattern, host, port, allowed) => {
      expect(policy([pattern]).resolve(host, port) !== undefined).toBe(allowed);
    },
  );

  it('The destination policy refuses an invalid pattern and names it', () => {
    expect(() => policy(['x:70000'])).toThrow(RangeError);
    expect(() => policy(['x:70000'])).toThrow('"x:70000" is no destination');
  });

  /** Different ways to write the machine itself, its link, or a cloud's metadata service. */
  const reserved = [
    '127.0.0.1',
    '127.8.9.10',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '100.100.100.200',
    '168.63.129.16',
    '::',
    '::1',
    '0:0:0:0:0:0:0:1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:a9fe:a9fe',
    '::127.0.0.1',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
  ];

  describe.each(reserved)('The reserved address %s', (address) => {
    const brackets = address.includes(':') ? `[${address}]` : address;

    it.each(['*:80', '0.0.0.0/0:80', '[::/0]:80', '128.0.0.0/1:80', '*.internal:80'])(
      'The destination policy refuses a reserved address with --allow %s, directly or for a name',
      (pattern) => {
        const wide = policy([pattern, 'name.internal:80']);
        expect(wide.resolve(address, 80)).toBeUndefined();
        const named = wide.resolve('name.internal', 80)!;
        expect(wide.addressRefusal(named, address)).toMatchObject({ code: 'forbidden_target' });
        expect(wide.refusal(address, 80)).toMatchObject({ code: 'forbidden_target' });
      },
    );

    it('The destination policy allows a reserved address that is listed itself, at that port, also for a name', () => {
      const listed = policy([`${brackets}:80`, '*.internal:*']);
      expect(listed.resolve(address, 80)).toBeDefined();
      const at = (port: number) =>
        listed.addressRefusal(listed.resolve('a.internal', port)!, address);
      expect(at(80)).toBeUndefined();
      expect(at(81)).toMatchObject({ code: 'forbidden_target' });
    });

    it('The destination policy allows a reserved address if the operator configured the kube-apiserver there', () => {
      const own = policy([], { host: 'api.internal' });
      const destination = own.resolve('1st-cluster', 443)!;
      expect(own.addressRefusal(destination, address)).toBeUndefined();
    });
  });

  it.each([
    ['127.0.0.0/8:80', '127.0.0.1'],
    ['127.0.0.0/24:80', '127.0.0.1'],
    ['[fe80::]/64:80', 'fe80::1'],
    ['[64:ff9b::a9fe:0/112]:80', '64:ff9b::169.254.169.254'],
    ['localhost:80', '127.0.0.1'],
    ['localhost:80', '::1'],
  ])(
    'The destination policy accepts the range %s, which has only reserved addresses, as permission for %s',
    (pattern, address) => {
      const listed = policy([pattern, '*.internal:80']);
      expect(listed.addressRefusal(listed.resolve('a.internal', 80)!, address)).toBeUndefined();
    },
  );

  it.each(['10.0.0.1', '192.168.1.1', '100.64.0.1', 'fd00::1', '2001:db8::1', '64:ff9b::10.0.0.1'])(
    "The destination policy needs no separate rule for a network's address, %s",
    (address) => {
      const wide = policy(['*:80']);
      expect(wide.resolve(address, 80)).toBeDefined();
      expect(wide.addressRefusal(wide.resolve('a.internal', 80)!, address)).toBeUndefined();
    },
  );

  it("The destination policy's error names the reserved address and the rule that would permit it", () => {
    const wide = policy(['*:80']);
    const named = wide.resolve('metadata.google.internal', 80)!;
    expect(wide.addressRefusal(named, '169.254.169.254')!.message).toBe(
      "dial tcp metadata.google.internal:80: forbidden by the agent's destination allowlist: its address 169.254.169.254 is link-local and must be listed itself (--allow 169.254.169.254:80 permits it)",
    );
    expect(wide.refusal('::1', 80).message).toContain('it is loopback and must be listed itself');
  });
});
