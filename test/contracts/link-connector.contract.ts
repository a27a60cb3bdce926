import { expect, it } from 'vitest';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { LinkConnector } from '../../src/tunnel/link-connector.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { RecordingOwner } from '../websocket/link-owners.ts';

/** A server as the other end of links, and a connector for it. */
export interface ConnectorSetup<Route> extends AsyncDisposable {
  readonly connector: LinkConnector<Route>;
  /** A route on which the server takes links. */
  readonly route: Route;
  /** A route on which the server never answers. */
  readonly silent: Route;
  /** A route on which the server answers as a broker that does not accept the credential. */
  readonly refusing: Route;
  /** A route on which a web page answers with the same status. */
  readonly blocked: Route;
  /** The next link at the server. */
  accepted(): Promise<AttachableLink>;
}

/** What agents, dialers and brokers expect of every `LinkConnector`. */
export function linkConnectorContract<Route>(setUp: () => Promise<ConnectorSetup<Route>>): void {
  const never = () => new AbortController().signal;

  async function failure(connecting: Promise<AttachableLink>): Promise<ConnectError> {
    const outcome = await connecting.catch((thrown: unknown) => thrown);
    if (outcome instanceof ConnectError) return outcome;
    throw new Error('the attempt did not fail with a ConnectError', { cause: outcome });
  }

  it('A connector makes a link that carries frames both ways', async () => {
    await using setup = await setUp();
    const link = await setup.connector.connect(setup.route, never());
    const far = await setup.accepted();
    const [owner, farOwner] = [new RecordingOwner(), new RecordingOwner()];
    link.attach(owner);
    far.attach(farOwner);
    link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
    await farOwner.until(() => farOwner.frames.length === 1);
    far.sendCopy(FrameType.pong, 0, 0, new Uint8Array(8));
    await owner.until(() => owner.frames.length === 1);
    expect([farOwner.frames[0]!.type, owner.frames[0]!.type]).toEqual([
      FrameType.ping,
      FrameType.pong,
    ]);
    link.close();
  });

  it('A connector whose signal has aborted fails with "aborted"', async () => {
    await using setup = await setUp();
    const { connector, route } = setup;
    const error = await failure(connector.connect(route, AbortSignal.abort(new Error('left'))));
    expect(error).toMatchObject({ code: 'aborted', cause: new Error('left') });
  });

  it('A connector gives up an attempt that is under way when its signal aborts', async () => {
    await using setup = await setUp();
    const stop = new AbortController();
    const failed = failure(setup.connector.connect(setup.silent, stop.signal));
    stop.abort();
    expect((await failed).code).toBe('aborted');
  });

  it('A link outlives the signal of its attempt', async () => {
    await using setup = await setUp();
    const stop = new AbortController();
    const link = await setup.connector.connect(setup.route, stop.signal);
    const owner = new RecordingOwner();
    const farOwner = new RecordingOwner();
    link.attach(owner);
    (await setup.accepted()).attach(farOwner);
    stop.abort();
    link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
    await farOwner.until(() => farOwner.frames.length === 1);
    expect(owner.closes).toEqual([]);
    link.close();
  });

  it("A connector tells a broker's refusal from the answer of something on the way", async () => {
    await using setup = await setUp();
    const { connector, refusing, blocked } = setup;
    const refusal = await failure(connector.connect(refusing, never()));
    expect(refusal).toMatchObject({ code: 'rejected', brokerCode: 'unauthorized' });
    const block = await failure(connector.connect(blocked, never()));
    expect(block).toMatchObject({ code: 'rejected', brokerCode: undefined });
    expect([refusal.isRefusal, block.isRefusal]).toEqual([true, false]);
  });
}
