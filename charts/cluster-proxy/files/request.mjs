// The program of `helm test`: sends one request to the kube-apiserver of each managed cluster, the way a konnectivity
// client does, and prints one line for each cluster. It exits with code 1 when a cluster does not answer.
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { get } from 'node:https';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { json } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';

const {
  PROXY_ADDRESS,
  PROXY_CREDENTIALS = '/credentials',
  SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount',
  KUBERNETES_SERVICE_HOST,
  KUBERNETES_SERVICE_PORT,
} = process.env;
const timeoutMs = 20_000;
/** From konnectivity's PacketType. */
const packetType = { dialRequest: 0, dialResponse: 1, data: 4 };
/** A gRPC message begins with a byte for compression and four for its length. */
const grpcHeaderBytes = 5;

const clusters = await listClusters();
const answers = await Promise.allSettled(clusters.map(askVersion));
for (const [index, { value, reason }] of answers.entries()) {
  process.stdout.write(`${clusters[index]}: ${value ?? `FAILED: ${reason.message}`}\n`);
}
if (clusters.length === 0) process.stdout.write('no cluster has the addon yet\n');
const failed = answers.filter(({ status }) => status === 'rejected').length;
process.exitCode = clusters.length === 0 || failed > 0 ? 1 : 0;

/** The names of the clusters that have the addon, from the hub's kube-apiserver. */
async function listClusters() {
  for (const version of ['v1alpha1', 'v1beta1']) {
    const path = `/apis/addon.open-cluster-management.io/${version}/managedclusteraddons`;
    const response = await getFromHub(`${path}?fieldSelector=metadata.name%3Dcluster-proxy`);
    if (response.statusCode === 404) {
      response.resume();
      continue;
    }
    const { items, message } = await json(response);
    if (items === undefined) throw new Error(`the clusters cannot be listed: ${message}`);
    return items.map(({ metadata }) => metadata.namespace).sort();
  }
  throw new Error('the hub does not know ManagedClusterAddOns');
}

function getFromHub(path) {
  return new Promise((resolve, reject) => {
    const token = readFileSync(join(SERVICE_ACCOUNT, 'token'), 'utf8');
    const options = {
      host: KUBERNETES_SERVICE_HOST,
      port: KUBERNETES_SERVICE_PORT,
      path,
      ca: readFileSync(join(SERVICE_ACCOUNT, 'ca.crt')),
      headers: { authorization: `Bearer ${token}` },
    };
    get(options, resolve).on('error', reject);
  });
}

/** What the kube-apiserver of the cluster answers to GET /version. Any status proves that the request arrived. */
async function askVersion(cluster) {
  const signal = AbortSignal.timeout(timeoutMs);
  const connection = await dial(`${cluster}:443`, signal);
  // The certificate of a kube-apiserver does not name the cluster, and no secret is sent.
  const tls = connectTls({ socket: connection, rejectUnauthorized: false });
  const response = await new Promise((resolve, reject) => {
    tls.on('error', reject);
    const options = { createConnection: () => tls, path: '/version', headers: { host: cluster } };
    request({ ...options, signal }, resolve)
      .on('error', reject)
      .end();
  });
  const { gitVersion = '' } = await json(response).catch(() => ({}));
  tls.destroy();
  return `GET /version answered ${response.statusCode} ${gitVersion}`.trimEnd();
}

/** A connection to `address` through the broker's konnectivity listener. */
function dial(address, signal) {
  const file = (name) => readFileSync(join(PROXY_CREDENTIALS, name));
  const session = connectHttp2(`https://${PROXY_ADDRESS}`, {
    ca: file('ca.crt'),
    cert: file('tls.crt'),
    key: file('tls.key'),
  });
  const { promise, resolve, reject } = Promise.withResolvers();
  const fail = (error) => {
    session.destroy();
    reject(error);
  };
  session.on('error', fail);
  signal.addEventListener('abort', () => fail(new Error(`no answer in ${timeoutMs / 1000} s`)));
  const call = session.request({
    ':method': 'POST',
    ':path': '/ProxyService/Proxy',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  call.on('error', fail);
  call.on('end', () => fail(new Error('the broker closed the call')));

  let connectId;
  const send = (type, field, ...fields) => call.write(grpcMessage(type, field, fields));
  const connection = new Duplex({
    read() {},
    write(bytes, _encoding, done) {
      send(packetType.data, 4, varintField(1, connectId), bytesField(3, bytes));
      done();
    },
    destroy(error, done) {
      session.destroy();
      done(error);
    },
  });
  onGrpcMessages(call, (packet) => {
    switch (Number(packet.get(1) ?? 0)) {
      case packetType.dialResponse: {
        const response = fieldsOf(packet.get(3));
        if (response.has(1)) return fail(new Error(response.get(1).toString()));
        connectId = response.get(2);
        return resolve(connection);
      }
      case packetType.data:
        return connection.push(fieldsOf(packet.get(4)).get(3));
      default:
        return connection.push(null);
    }
  });
  const target = [bytesField(1, 'tcp'), bytesField(2, address), varintField(3, 1)];
  send(packetType.dialRequest, 2, ...target);
  return promise;
}

/** A Packet of that type, whose payload is the message with these fields. */
function grpcMessage(type, field, fields) {
  const packet = Buffer.concat([varintField(1, type), bytesField(field, Buffer.concat(fields))]);
  const header = Buffer.alloc(grpcHeaderBytes);
  header.writeUInt32BE(packet.length, 1);
  return Buffer.concat([header, packet]);
}

function onGrpcMessages(call, onPacket) {
  let rest = Buffer.alloc(0);
  call.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= grpcHeaderBytes) {
      const end = grpcHeaderBytes + rest.readUInt32BE(1);
      if (rest.length < end) return;
      onPacket(fieldsOf(rest.subarray(grpcHeaderBytes, end)));
      rest = rest.subarray(end);
    }
  });
}

function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

function varintField(number, value) {
  return Buffer.concat([varint(number << 3), varint(value)]);
}

function bytesField(number, value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

/** The fields of a protobuf message by number. Konnectivity uses numbers (bigint) and bytes (Buffer) only. */
function fieldsOf(bytes) {
  const fields = new Map();
  let at = 0;
  const next = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(next());
    const value = next();
    const isBytes = (key & 7) === 2;
    fields.set(key >> 3, isBytes ? bytes.subarray(at, at + Number(value)) : value);
    if (isBytes) at += Number(value);
  }
  return fields;
}
