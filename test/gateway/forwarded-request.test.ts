import { expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { IncomingRequest } from '../../src/gateway/admitted-request.ts';
import type { ClientSide } from '../../src/gateway/node/client-side.ts';
import { ForwardedRequest } from '../../src/gateway/node/forwarded-request.ts';
import type { GatewayContext } from '../../src/gateway/node/gateway-context.ts';
import type { HeaderList, HttpExchangeHandler } from '../../src/http-exchange/http-exchange.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { testGateway } from './test-gateway.ts';

const client = { address: '10.1.1.1', scheme: 'https', host: 'gw', isTrustedProxy: false } as const;
const plain = { method: 'GET', target: '/c1/version', headers: [], client, hasBody: false };
const upgradeFields: HeaderList = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'websocket'],
];

/** Starts a request of a gateway that opens exchanges in this way, and returns what it answered. */
function start(open: GatewayContext['open'], request: IncomingRequest = plain) {
  const events: string[] = [];
  const side: ClientSide = {
    body: { read: () => void events.push('read'), pause() {}, resume() {}, drop() {} },
    inform: () => {},
    begin: ({ status }) => void events.push(`head ${status}`),
    write: () => events.push('body') > 0,
    end: () => void events.push('end'),
    cut: () => void events.push('cut'),
    upgrade: () => undefined,
  };
  const authenticator = { authenticate: () => ({ kind: 'forward', subject: undefined }) as const };
  const context: GatewayContext = {
    gateway: testGateway({ authenticator }).gateway,
    ...{ open, clock: systemClock, log: silentLogger, requests: new Set() },
    isKnownCluster: () => undefined,
    onEnded: () => {},
  };
  const connection = { authenticated: () => {}, refused: () => {} };
  new ForwardedRequest(context, request, connection).start(side);
  return events;
}

const exchange = { write: () => true, end: () => {}, consumed: () => {}, reset: () => {} };

it('An exchange starts in the same turn when nothing has to be asked', () => {
  expect(start(() => exchange)).toEqual(['read']);
});

it('A head that no exchange can carry gets a 502 in place of no answer', () => {
  const events = start(() => {
    throw new TunnelError('protocol_error', 'the head has too many fields');
  });
  expect(events).toEqual(['head 502', 'body', 'end']);
});

it('An upgraded stream is cut with its exchange, also when only the client still sends', () => {
  for (const error of [undefined, new TunnelError('agent_lost', 'the agent is gone')]) {
    let handler!: HttpExchangeHandler;
    const open: GatewayContext['open'] = (_options, opened) => {
      handler = opened;
      return exchange;
    };
    const events = start(open, { ...plain, headers: upgradeFields });
    handler.onHead({ status: 101, headers: upgradeFields });
    handler.onEnd();
    handler.onClose(error);
    expect(events).toEqual(['read', 'end', ...(error === undefined ? [] : ['cut'])]);
  }
});
