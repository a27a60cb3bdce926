import type { OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { parseInteger } from '../base/options/option-parsers.ts';
import { ValueError } from '../base/value-error.ts';
import { shareLimits } from '../tunnel/stream-request.ts';
import type { ShareOptions } from './client-shares.ts';

const process = 'This is for each process of the bridge or broker. Default: no limit.';

export const sharesTable = {
  clientBytesPerSecond: {
    name: 'client-bytes-per-second',
    kind: 'bytes',
    help: `What one client may send and receive per second, all its connections together. A client is the common name of a certificate; clients without a certificate are one client. ${process}`,
  },
  clientDialsPerSecond: {
    name: 'client-dials-per-second',
    kind: 'integer',
    min: 1,
    help: `How many connections one client may open per second. Further dials wait, at most for the time of a dial. ${process}`,
  },
  clientWeights: {
    name: 'client-weight',
    kind: 'parsed',
    parse: parseWeight,
    placeholder: 'NAME=WEIGHT',
    repeatable: true,
    help: 'The weight of a client, 1 to 100, by the common name of its certificate. Clients that compete for an agent send and receive in proportion to their weights. Default: 1 for every client.',
  },
  clusterBytesPerSecond: {
    name: 'cluster-bytes-per-second',
    kind: 'bytes',
    help: `What all clients together may send to and receive from one cluster per second. ${process}`,
  },
  clusterDialsPerSecond: {
    name: 'cluster-dials-per-second',
    kind: 'integer',
    min: 1,
    help: `How many connections all clients together may open to one cluster per second. Further dials wait, at most for the time of a dial. ${process}`,
  },
} as const satisfies OptionsTable;

/** The shares that the options ask for; undefined: the options say nothing of them. */
export function shareOptions(values: OptionsOf<typeof sharesTable>): ShareOptions | undefined {
  const { clientBytesPerSecond, clientDialsPerSecond, clientWeights } = values;
  const { clusterBytesPerSecond, clusterDialsPerSecond } = values;
  const client = { bytesPerSecond: clientBytesPerSecond, dialsPerSecond: clientDialsPerSecond };
  const cluster = { bytesPerSecond: clusterBytesPerSecond, dialsPerSecond: clusterDialsPerSecond };
  const isGiven =
    clientWeights.length > 0 ||
    [...Object.values(client), ...Object.values(cluster)].some((rate) => rate !== undefined);
  return isGiven ? { client, cluster, weights: new Map(clientWeights) } : undefined;
}

function parseWeight(text: string): readonly [name: string, weight: number] {
  // A common name may have an equals sign, and a weight has none.
  const at = text.lastIndexOf('=');
  if (at <= 0) throw new ValueError('is not NAME=WEIGHT');
  return [text.slice(0, at), parseInteger(text.slice(at + 1), 1, shareLimits.maxWeight)];
}
