import type { Logger } from '../base/log/logger.ts';
import { addressGroup } from '../base/net/address-group.ts';
import { type FrontHandler, type FrontStream, GrpcStatus } from '../konnectivity/front.ts';
import type { AgentIdentity, AuthenticateAgent } from './agent-authenticator.ts';
import { type AgentIdentifiers, parseAgentIdentifiers } from './agent-identifiers.ts';
import type { ConnectedAgent } from './connected-agent.ts';
import { StandardAgentError } from './standard-agent-error.ts';

/** An agent that has shown a good credential. */
export interface AcceptedAgent {
  readonly front: FrontStream;
  readonly agentId: string;
  readonly identifiers: AgentIdentifiers;
  readonly identity: AgentIdentity;
}

export interface AgentCallContext {
  readonly authenticate: AuthenticateAgent;
  readonly serverId: string;
  readonly serverCount: number;
  readonly maxAgentIdLength: number;
  readonly log: Logger;
  /** @throws StandardAgentError the agent is refused */
  readonly accept: (agent: AcceptedAgent) => ConnectedAgent;
  readonly refused: (error: StandardAgentError) => void;
  /** Calls that have not ended. */
  readonly calls: Set<AgentCall>;
}

/**
 * An honest agent sends nothing before it knows the server. Bytes that come while its credential is
 * checked are kept up to this limit.
 */
const maxEarlyBytes = 64 * 1024;
/** What a piece of these bytes takes in memory besides its bytes. A client may send single bytes. */
const pieceBytes = 128;

/**
 * One call of `AgentService/Connect`. It checks the agent's metadata and credential, in upstream's
 * order and with upstream's texts, and answers with the metadata of the server at once, because an
 * agent waits for them without a time limit. Then the agent is connected.
 */
export class AgentCall implements FrontHandler {
  readonly #context: AgentCallContext;
  readonly #front: FrontStream;
  #agent: ConnectedAgent | undefined;
  #early: Uint8Array[] = [];
  /** The memory of `#early`. */
  #earlyBytes = 0;
  #hasEnded = false;

  constructor(context: AgentCallContext, front: FrontStream) {
    this.#context = context;
    this.#front = front;
    context.calls.add(this);
    this.#start();
  }

  onData(bytes: Uint8Array): void {
    if (this.#agent !== undefined) return this.#agent.onBytes(bytes);
    if (this.#hasEnded) return;
    this.#earlyBytes += bytes.length + pieceBytes;
    this.#early.push(Uint8Array.from(bytes));
    if (this.#earlyBytes <= maxEarlyBytes) return;
    const sentence = 'the agent sent too much before it was accepted';
    this.#refuse(new StandardAgentError('protocol_error', sentence));
  }

  onSent(): void {
    this.#agent?.onSent();
  }

  onEnd(): void {
    this.#hasEnded = true;
    this.#agent?.end(undefined);
    if (this.#agent === undefined) this.#front.end(GrpcStatus.ok);
  }

  onClose(): void {
    this.#hasEnded = true;
    this.#agent?.end(undefined);
    this.#context.calls.delete(this);
  }

  /** Ends the call of an agent that is not accepted yet. Idempotent. */
  refuse(error: StandardAgentError): void {
    if (this.#agent === undefined) this.#refuse(error);
  }

  #start(): void {
    try {
      const { agentId, identifiers } = this.#readMetadata();
      const { peer, subject } = this.#front;
      const identity = this.#context.authenticate({
        subject,
        authorization: this.#front.metadata('authorization'),
        address: addressOf(peer),
      });
      // Certificates are checked at once, and the agent is accepted within its first turn.
      if (!(identity instanceof Promise)) return this.#accept(agentId, identifiers, identity);
      identity.then(
        (found) => this.#accept(agentId, identifiers, found),
        (thrown: unknown) => this.#refuse(unavailable(thrown)),
      );
    } catch (thrown) {
      this.#refuse(thrown);
    }
  }

  #readMetadata(): Pick<AcceptedAgent, 'agentId' | 'identifiers'> {
    const ids = this.#front.metadata('agentid');
    const [agentId] = ids;
    const { maxAgentIdLength } = this.#context;
    if (agentId === undefined || ids.length > 1) {
      throw invalid(`expected one agent ID in the context, got [${ids.slice(0, 4).join(' ')}]`);
    }
    if (agentId.length > maxAgentIdLength) {
      throw invalid(`the agent ID is longer than ${maxAgentIdLength} characters`);
    }
    const texts = this.#front.metadata('agentidentifiers');
    if (texts.length > 1) {
      throw invalid(
        `expected at most one set of agent identifiers in the context, got [${texts.slice(0, 4).join(' ')}]`,
      );
    }
    return { agentId, identifiers: parseAgentIdentifiers(texts[0] ?? '') };
  }

  #accept(agentId: string, identifiers: AgentIdentifiers, identity: AgentIdentity): void {
    if (this.#hasEnded) return;
    const { accept, serverId, serverCount } = this.#context;
    try {
      this.#agent = accept({ front: this.#front, agentId, identifiers, identity });
    } catch (thrown) {
      return this.#refuse(thrown);
    }
    this.#front.respond({ serverid: serverId, servercount: String(serverCount) });
    const early = this.#early;
    this.#early = [];
    for (const bytes of early) this.#agent.onBytes(bytes);
  }

  #refuse(thrown: unknown): void {
    if (!(thrown instanceof StandardAgentError)) throw thrown;
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#early = [];
    const { code, message } = thrown;
    const { peer } = this.#front;
    this.#context.refused(thrown);
    this.#context.log.warn('konnectivity agent refused', { peer, code, error: message });
    // Upstream's server returns plain errors, which have this status.
    this.#front.end(GrpcStatus.unknown, message);
  }
}

function unavailable(thrown: unknown): StandardAgentError {
  if (thrown instanceof StandardAgentError) return thrown;
  const sentence = 'the credential cannot be checked now';
  return new StandardAgentError('authentication_unavailable', sentence, { cause: thrown });
}

function invalid(text: string): StandardAgentError {
  return new StandardAgentError('invalid_metadata', text);
}

/**
 * The unit of limits for the address in `FrontStream.peer`, which is `ADDRESS:PORT` or `NAME
 * (ADDRESS:PORT)`. IPv6 addresses are in square brackets.
 */
function addressOf(peer: string): string {
  const inBrackets = /\(([^()]+)\)$/.exec(peer)?.[1] ?? peer;
  return addressGroup(inBrackets.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'));
}
