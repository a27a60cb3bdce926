// A konnectivity client to be stopped: node downloading-client.ts FRONT-AS-JSON HOST:PORT
// reads from HOST:PORT without end, and prints a line after the first MiB.
import { openClient } from './front-client.ts';

const [front = '', to = ''] = process.argv.slice(2);
const client = await openClient(JSON.parse(front));
const connection = await client.dial(to);
let bytes = 0;
for await (const piece of connection) {
  const before = bytes;
  bytes += (piece as Buffer).length;
  if (before < 2 ** 20 && bytes >= 2 ** 20) console.log('downloading');
}
