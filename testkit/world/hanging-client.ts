// A konnectivity client to be killed: node hanging-client.ts FRONT-AS-JSON HOST:PORT COUNT
// opens COUNT connections, prints a line, and holds them.
import { openClient, echo } from './front-client.ts';

const [front = '', to = '', count = ''] = process.argv.slice(2);
const client = await openClient(JSON.parse(front));
const dials = Array.from({ length: Number(count) }, async () => {
  const connection = await client.dial(to);
  await echo(connection, 'held');
});
await Promise.all(dials);
console.log(`holding ${count} connections`);
