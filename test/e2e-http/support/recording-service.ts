import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { argv } from 'node:process';
import type { AddressInfo } from 'node:net';

// An HTTP server that records each request as a line of JSON, as a hostile Service would. Its
// metrics have the label that its argument says. With a certificate it serves HTTPS.
// usage: recording-service.ts ADDRESS CLUSTER [CERTIFICATE KEY]
const [address = '127.0.0.1', cluster = '', cert, key] = argv.slice(2);

const answer: RequestListener = (request, response) => {
  const { method, url, rawHeaders } = request;
  console.log(JSON.stringify({ method, url, rawHeaders }));
  // Prometheus refuses samples of an unknown format.
  response.setHeader('content-type', 'text/plain; version=0.0.4');
  if (url === '/redirect') response.writeHead(302, { location: '/elsewhere' }).end();
  else response.end(`# TYPE sample gauge\nsample{of="${cluster}"} 1\n`);
};
const server =
  cert === undefined || key === undefined
    ? createServer(answer)
    : createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, answer);
server.listen(0, address);
await once(server, 'listening');
console.log(JSON.stringify({ port: (server.address() as AddressInfo).port }));
