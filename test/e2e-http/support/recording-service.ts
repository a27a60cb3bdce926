import { once } from 'node:events';
import { createServer } from 'node:http';
import { argv } from 'node:process';
import type { AddressInfo } from 'node:net';

// An HTTP server that records each request as a line of JSON, as a hostile Service would. Its
// metrics have the label that its argument says. usage: recording-service.ts ADDRESS CLUSTER
const [address = '127.0.0.1', cluster = ''] = argv.slice(2);

const server = createServer((request, response) => {
  const { method, url, rawHeaders } = request;
  console.log(JSON.stringify({ method, url, rawHeaders }));
  // Prometheus refuses samples of an unknown format.
  response.setHeader('content-type', 'text/plain; version=0.0.4');
  if (url === '/redirect') response.writeHead(302, { location: '/elsewhere' }).end();
  else response.end(`# TYPE sample gauge\nsample{of="${cluster}"} 1\n`);
}).listen(0, address);
await once(server, 'listening');
console.log(JSON.stringify({ port: (server.address() as AddressInfo).port }));
