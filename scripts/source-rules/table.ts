/**
 * Which folder may import which, and where each package is imported. `npm run check` enforces this
 * table, type imports and dynamic imports included. ARCHITECTURE.md says what each room is for.
 */

export interface Room {
  /**
   * Other rooms that it may import. Itself is always allowed; a room below it (`src/broker/node`)
   * is another room.
   */
  readonly imports: readonly string[];
  /** True when it must run on any runtime, so that it imports no `node:*`. */
  readonly isPortable?: true;
}

const base = ['src/base'];
const protocol = [...base, 'src/tunnel'];
const addonFolders = (...names: readonly string[]): readonly string[] => [
  ...base,
  'src/kube/client',
  'src/kube/controllers',
  ...names.map((name) => `src/addon/${name}`),
];

/** The longest folder that contains a file is its room. */
export const rooms: Readonly<Record<string, Room>> = {
  'src/base': { imports: [] },
  'src/tunnel': { imports: base, isPortable: true },
  'src/acceptor': { imports: protocol, isPortable: true },
  'src/stream-io': { imports: protocol, isPortable: true },
  'src/stream-io/node': { imports: [...protocol, 'src/stream-io'] },
  'src/websocket': { imports: protocol },
  'src/kube/client': { imports: base },
  'src/kube/controllers': { imports: [...base, 'src/kube/client'] },
  'src/kube/kubeconfig': { imports: base },
  'src/kube/exec-credential': { imports: [...base, 'src/kube/client'] },

  'src/http-exchange': { imports: [...protocol, 'src/dialer'], isPortable: true },
  'src/access': { imports: base, isPortable: true },
  'src/access/node': {
    imports: [...base, 'src/access', 'src/kube/client', 'src/kube/controllers'],
  },
  'src/dialer': { imports: [...protocol, 'src/stream-io'], isPortable: true },
  'src/dialer/node': {
    imports: [...protocol, 'src/dialer', 'src/stream-io', 'src/stream-io/node', 'src/websocket'],
  },

  // Programs never import each other: they meet on the wire.
  'src/broker': { imports: [...protocol, 'src/access'], isPortable: true },
  'src/broker/redis': { imports: [...protocol, 'src/broker'] },
  'src/broker/node': {
    imports: [
      ...protocol,
      'src/access',
      'src/access/node',
      'src/broker',
      'src/broker/redis',
      'src/dialer',
      'src/kube/client',
      'src/kube/controllers',
      'src/websocket',
    ],
  },
  // The Worker is composed here, because its runtime has one entry: the broker and the gateway.
  'src/broker/edge': {
    imports: [
      ...protocol,
      'src/access',
      'src/broker',
      'src/dialer',
      'src/gateway',
      'src/gateway/edge',
      'src/http-exchange',
      'src/kube/client',
      'src/websocket',
    ],
    isPortable: true,
  },
  'src/agent': {
    imports: [
      ...protocol,
      'src/acceptor',
      'src/agent/http',
      'src/stream-io/node',
      'src/websocket',
      'src/kube/client',
    ],
  },
  'src/agent/http': {
    imports: [...protocol, 'src/agent', 'src/http-exchange', 'src/http1', 'src/stream-io/node'],
  },
  'src/http1': { imports: [...base, 'src/http-exchange'] },
  'src/http2': { imports: base },
  'src/gateway': {
    imports: [...protocol, 'src/http-exchange', 'src/access'],
    isPortable: true,
  },
  'src/gateway/node': {
    imports: [
      ...protocol,
      'src/access',
      'src/access/node',
      'src/http-exchange',
      'src/http1',
      'src/http2',
      'src/gateway',
      'src/kube/client',
      'src/kube/controllers',
      'src/stream-io/node',
    ],
  },
  'src/gateway/edge': {
    imports: [...protocol, 'src/access', 'src/http-exchange', 'src/gateway', 'src/websocket'],
    isPortable: true,
  },
  'src/connect': { imports: [...protocol, 'src/dialer', 'src/stream-io/node'] },
  'src/konnectivity': { imports: [...base, 'src/http2'] },
  'src/konnectivity-bridge': {
    imports: [...protocol, 'src/access', 'src/dialer', 'src/konnectivity'],
  },
  'src/konnectivity-agents': {
    imports: [...protocol, 'src/acceptor', 'src/konnectivity', 'src/kube/client'],
  },
  'src/konnectivity-client': { imports: base },
  'src/addon/api': { imports: [...base, 'src/kube/client'] },
  'src/addon/runtime': { imports: addonFolders('api') },
  'src/addon/compat': { imports: [...addonFolders('api'), 'src/access'] },
  'src/addon/configuration': { imports: addonFolders('api', 'compat') },
  'src/addon/rotation': { imports: addonFolders('api', 'runtime', 'compat', 'configuration') },
  'src/addon/hub': {
    imports: addonFolders('api', 'runtime', 'compat', 'configuration', 'rotation'),
  },
  'src/addon/cluster': {
    imports: [...addonFolders('api', 'runtime', 'compat', 'configuration', 'hub'), 'src/access'],
  },
  'src/addon/cluster-profile': { imports: addonFolders('api', 'runtime', 'configuration') },
  'src/addon/csr': { imports: addonFolders('api', 'runtime', 'rotation', 'hub') },
  'src/addon': {
    imports: addonFolders(
      'api',
      'runtime',
      'compat',
      'configuration',
      'rotation',
      'hub',
      'cluster',
      'cluster-profile',
      'csr',
    ),
  },
  // Starts programs, and is the only place with more than one program in a process.
  'src/cli': {
    imports: [
      ...base,
      'src/access',
      'src/access/node',
      'src/addon',
      'src/agent',
      'src/broker',
      'src/broker/node',
      'src/connect',
      'src/dialer',
      'src/dialer/node',
      'src/gateway',
      'src/gateway/node',
      'src/http-exchange',
      'src/konnectivity',
      'src/konnectivity-agents',
      'src/konnectivity-bridge',
      'src/kube/client',
      'src/kube/exec-credential',
      'src/kube/kubeconfig',
    ],
  },

  // The entries of the npm package; nothing imports them.
  'src/exports': {
    imports: [
      ...protocol,
      'src/dialer',
      'src/dialer/node',
      'src/konnectivity-client',
      'src/stream-io',
    ],
  },

  // Everything outside src may import all of src. Nothing imports tests.
  testkit: { imports: ['src'] },
  test: { imports: ['src', 'testkit', 'scripts', 'bench', 'demo', 'vitest.config.ts'] },
  scripts: { imports: ['src', 'testkit', 'vitest.config.ts'] },
  bench: { imports: ['src', 'testkit', 'scripts', 'demo'] },
  demo: { imports: ['src'] },
  examples: { imports: ['src'] },
};

/**
 * The only folder under src that imports each package; packages that are missing here may not be
 * imported at all.
 */
export const packageRooms: Readonly<Record<string, string>> = {
  '@grpc/grpc-js': 'src/konnectivity-client',
  '@grpc/proto-loader': 'src/konnectivity-client',
  '@hono/node-server': 'src/broker/node',
  '@peculiar/x509': 'src/base/x509',
  'cloudflare:workers': 'src/broker/edge',
  hono: 'src/broker',
  ioredis: 'src/broker/redis',
  jose: 'src/base',
  msgpackr: 'src/tunnel',
  pino: 'src/base',
  'prom-client': 'src/base',
  'reflect-metadata': 'src/base/x509',
  yaml: 'src/kube',
};

export const maxSourceLines = 300;
