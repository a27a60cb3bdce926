import type { Clock, Timer } from '../base/clock.ts';
import { formatHostPort } from '../base/net/host-port.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import type { TcpRequest } from '../tunnel/stream-request.ts';
import { agentCloseError, agentDialError } from './agent-dial-error.ts';
import type { AgentStream, StreamAgent } from './agent-stream.ts';
import type { KonnectivityAgentsLimits } from './options.ts';

/** What a stream needs of its cluster. */
export interface StreamContext {
  readonly clock: Clock;
  readonly limits: KonnectivityAgentsLimits;
  /**
   * Chooses an agent for a dial.
   *
   * @throws TunnelError why there is none
   */
  choose(host: string, except: ReadonlySet<StreamAgent>): StreamAgent;
  dialFailed(error: TunnelError): void;
  /** The stream has ended, and its agent has been told. */
  streamEnded(stream: RelayedStream): void;
}

type State =
  /** An agent has been asked to dial. */
  | 'dialing'
  | 'open'
  /** The agent has closed the connection, and the client has not taken all bytes yet. */
  | 'draining'
  /** The client's stream has ended. The agent may still send bytes, which are dropped. */
  | 'ended';

/**
 * A stream of a dialer that a standard agent serves. It becomes DIAL_REQ, DATA and CLOSE_REQ packets
 * to the agent. While no agent has answered the dial, another agent can be asked.
 */
export class RelayedStream implements StreamHandler, AgentStream {
  readonly #context: StreamContext;
  readonly #stream: Stream;
  readonly #host: string;
  readonly address: string;
  readonly #tried = new Set<StreamAgent>();
  #state: State = 'dialing';
  #agent: StreamAgent | undefined;
  random = 0n;
  connectId = 0;
  #timer: Timer | undefined;
  /** Bytes given to the agent's connection whose window has not been given back. */
  #owedBytes = 0;
  #lastSentMs = -Infinity;
  /** When the target last sent bytes or the client ended its half. */
  #lastReceivedMs = 0;
  backlogBytes = 0;
  /** The client wants no more bytes. */
  #isStopped = false;

  /** Starts to dial. The stream is accepted, or reset with the reason. */
  constructor(context: StreamContext, request: TcpRequest, stream: Stream) {
    const { host, port } = request.target;
    this.#context = context;
    this.#stream = stream;
    this.#host = host;
    this.address = formatHostPort({ host, port });
    const { dialTimeoutMs } = context.limits;
    const { timeoutMs } = request;
    const limitMs = timeoutMs === 0 ? dialTimeoutMs : Math.min(dialTimeoutMs, timeoutMs);
    this.#timer = context.clock.setTimer(limitMs, () => this.#onDialTimeout(limitMs));
    this.#dial();
  }

  onTargetData(bytes: Uint8Array): void {
    if (this.#state !== 'open' || this.#isStopped) return;
    this.#lastReceivedMs = this.#context.clock.now();
    if (this.#stream.write(bytes)) return;
    this.backlogBytes += bytes.length;
    this.#agent?.onBacklog(this, bytes.length);
  }

  onDialed(connectId: number): void {
    this.connectId = connectId;
    this.#state = 'open';
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#tried.clear();
    this.#stream.accept();
  }

  onDialFailed(text: string): void {
    this.#fail(agentDialError(text));
  }

  get isDraining(): boolean {
    return this.#state === 'draining';
  }

  onTargetClosed(text: string): void {
    this.#timer?.cancel();
    if (this.#state !== 'open') return this.#endStream();
    this.#state = 'draining';
    if (text !== '') return this.#stream.reset(agentCloseError(text));
    // Bytes to the target have nowhere to go. The bytes that came before are delivered first, and
    // count until then.
    this.#stream.stopReceiving();
    if (this.backlogBytes === 0) this.#stream.fin();
  }

  /** The agent is gone. A dial goes to another agent, because nothing was delivered. */
  onAgentLost(): void {
    this.#agent = undefined;
    if (this.#state === 'dialing') return this.#dial();
    if (this.#state === 'ended') return this.#endStream();
    const sentence = 'the konnectivity agent of the connection was lost';
    this.#stream.reset(new TunnelError('agent_lost', sentence));
  }

  resetStalled(stalledMs: number): void {
    const sentence = `the client took nothing for ${stalledMs} ms while other connections of its konnectivity agent waited`;
    this.#stream.reset(new TunnelError('overloaded', sentence));
  }

  payBack(): void {
    const owedBytes = this.#owedBytes;
    this.#owedBytes = 0;
    if (this.#state === 'open' && owedBytes > 0) this.#stream.consumed(owedBytes);
  }

  onData(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    this.#lastSentMs = this.#context.clock.now();
    if (this.#agent!.sendData(this, bytes)) this.#stream.consumed(bytes.length);
    else this.#owedBytes += bytes.length;
  }

  /**
   * The client's half-close. Agents have no packet for it, and CLOSE_REQ would cut off the answer of
   * the target. So the connection is closed once the target sends no more.
   */
  onFin(): void {
    if (this.#state !== 'open') return;
    const { clock, limits } = this.#context;
    this.#lastReceivedMs = clock.now();
    this.#timer = clock.setTimer(limits.halfCloseIdleMs, () => this.#onHalfCloseTimer());
  }

  onWritable(): void {
    const { backlogBytes } = this;
    this.backlogBytes = 0;
    if (backlogBytes > 0) this.#agent?.onBacklogTaken(this, backlogBytes);
    if (this.isDraining) this.#stream.fin();
  }

  onStop(): void {
    this.#isStopped = true;
    this.onWritable();
  }

  onClose(error: TunnelError | undefined): void {
    this.#timer?.cancel();
    this.onWritable();
    const before = this.#state;
    this.#state = 'ended';
    if (before === 'open' && this.#agent !== undefined) return this.#closeAtAgent(error);
    if (before === 'dialing') this.#agent?.cancelDial(this);
    this.#endStream();
  }

  #dial(): void {
    let agent: StreamAgent;
    try {
      agent = this.#context.choose(this.#host, this.#tried);
    } catch (thrown) {
      return this.#fail(TunnelError.from(thrown));
    }
    this.#tried.add(agent);
    this.#agent = agent;
    agent.dial(this);
  }

  #fail(error: TunnelError): void {
    this.#agent = undefined;
    this.#state = 'ended';
    this.#timer?.cancel();
    this.#context.dialFailed(error);
    this.#stream.reset(error);
    this.#endStream();
  }

  #onDialTimeout(limitMs: number): void {
    const agent = this.#agent;
    agent?.cancelDial(this);
    const text = `dial tcp ${this.address}: i/o timeout: no answer of the agent within ${limitMs} ms`;
    this.#fail(new TunnelError('timeout', text));
  }

  #onHalfCloseTimer(): void {
    const { clock, limits } = this.#context;
    const leftMs = this.#lastReceivedMs + limits.halfCloseIdleMs - clock.now();
    if (leftMs > 0 || this.backlogBytes > 0) {
      const delayMs = leftMs > 0 ? leftMs : limits.halfCloseIdleMs;
      this.#timer = clock.setTimer(delayMs, () => this.#onHalfCloseTimer());
      return;
    }
    this.#agent?.close(this);
  }

  /** An end in order waits until the agent has had time to write the last bytes to its target. */
  #closeAtAgent(error: TunnelError | undefined): void {
    const { clock, limits } = this.#context;
    const delayMs = this.#lastSentMs + limits.closeDelayMs - clock.now();
    if (error !== undefined || delayMs <= 0) return this.#agent!.close(this);
    this.#timer = clock.setTimer(delayMs, () => this.#agent?.close(this));
  }

  #endStream(): void {
    this.#context.streamEnded(this);
  }
}
