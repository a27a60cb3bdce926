import { DurableObject } from 'cloudflare:workers';
import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { closeError } from '../../websocket/close-code.ts';
import { sessionLimitProblem, tunnelLimitProblem } from '../admission.ts';
import { DialerAccess } from '../dialer-access.ts';
import { Relay } from '../relay.ts';
import type { AgentSnapshot } from '../snapshots.ts';
import type { BrokerStatus } from '../status.ts';
import type { EdgeAccessOptions } from './access-options.ts';
import { culvertProtocol, decodeAdmitted, type HttpClient } from './admitted.ts';
import { ClusterGateway } from './cluster-gateway.ts';
import { createConsoleLogger } from './console-logger.ts';
import { CreditGuard } from './credit-guard.ts';
import { type EdgeAccess, openEdgeAccess, sessionProblem } from './edge-access.ts';
import { EdgeLink, type Attachment } from './edge-link.ts';
import { readEdgeOptions } from './edge-options.ts';
import type { ClusterObjectCalls, EdgeEnv } from './env.ts';
import type { EdgeGatewayOptions } from './gateway-options.ts';
import { ObjectDirectory } from './object-directory.ts';

/** The largest receive window of a stream over the edge. An object has 128 MiB for all streams. */
const maxWindowBytes = 1024 * 1024;

/** Keys of the object's storage. */
const stored = {
  /** In the object that has an alias as its name: the cluster's name. */
  aliasOf: 'aliasOf',
  /** In the cluster's object: true once the object of its alias knows the cluster's name. */
  aliasTold: 'aliasTold',
  /**
   * When the cluster last had an agent, in milliseconds since 1970, accurate to one silence limit.
   */
  agentSeenAtMs: 'agentSeenAtMs',
} as const;

/**
 * A cluster's Durable Object: its relay and its directory. Between frames the runtime may put it to
 * sleep. The runtime then keeps the sockets and answers pings. The next message makes a new object,
 * which takes the sockets back from their attachments.
 */
export class ClusterObject extends DurableObject<EdgeEnv> implements ClusterObjectCalls {
  readonly #log: Logger;
  readonly #silenceLimitMs: number;
  readonly #guard = new CreditGuard();
  readonly #links = new WeakMap<WebSocket, EdgeLink>();
  readonly #relay: Relay;
  readonly #accessOptions: EdgeAccessOptions;
  #access: EdgeAccess | undefined;
  #dialerAccess: DialerAccess | undefined;
  readonly #gatewayOptions: EdgeGatewayOptions | undefined;
  #gateway: ClusterGateway | undefined;

  constructor(ctx: DurableObjectState, env: EdgeEnv) {
    super(ctx, env);
    const { logLevel, silenceLimitMs, access, gateway } = readEdgeOptions(env);
    const replica = `edge-${ctx.id.toString().slice(0, 12)}`;
    this.#log = createConsoleLogger(logLevel, { replica });
    this.#silenceLimitMs = silenceLimitMs;
    this.#gatewayOptions = gateway;
    this.#accessOptions = access;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'));
    const survivors = this.#survivors();
    const agents = survivors.filter(isAgent).sort((a, b) => a.snapshot.epoch - b.snapshot.epoch);
    this.#relay = new Relay({
      replica,
      address: '',
      directory: new ObjectDirectory({
        survivors: agents
          .filter(({ snapshot }) => !snapshot.leaving)
          .map(({ snapshot: { cluster, agent, instance, tunnel, epoch } }) => {
            return { cluster, agent, instance, tunnel, epoch, replica, address: '' };
          }),
        publishAlias: (alias, cluster) => this.#publishAlias(alias, cluster),
      }),
      clock: systemClock,
      log: this.#log,
      // There is no other object to move to, and a timer would keep this object awake.
      maxTunnelAgeMs: Infinity,
      // The session of this object's own gateway ends before the object sleeps.
      onSnapshot: (link, snapshot) => link instanceof EdgeLink && link.keep(snapshot),
      sessionLimits: { maxWindow: maxWindowBytes },
    });
    for (const { link, snapshot } of agents) this.#relay.restoreAgent(link, snapshot);
    // After a new version, or when the runtime has moved the object, the agents have lost their
    // tunnels.
    if (agents.length === 0) void ctx.blockConcurrencyWhile(() => this.#expectAgents());
    for (const { link, snapshot } of survivors) {
      if ('session' in snapshot) {
        link.watch(snapshot.session);
        this.#relay.restoreDialer(link, snapshot);
      } else if (!('epoch' in snapshot)) {
        this.#relay.admit(link, snapshot);
      }
    }
  }

  /** Handles an upgrade of a client that the Worker has admitted. */
  override async fetch(request: Request): Promise<Response> {
    const admitted = decodeAdmitted(request);
    if (admitted === undefined) return new Response('only for the Worker', { status: 403 });
    if (admitted.kind === 'http') return await this.#serve(request, admitted);
    if (admitted.kind === 'agent' && this.#relay.holdsAnother(admitted)) {
      const message = `agent ${admitted.agent} has a tunnel already, and on the edge a cluster has one object for all its tunnels`;
      // Each attempt wakes the object, so the agent must wait for long.
      const headers = { 'Retry-After': '3600' };
      return Response.json({ code: 'already_here', message }, { status: 409, headers });
    }
    if (admitted.kind === 'dialer' && admitted.credential !== undefined) {
      const { cluster, dialer, credential } = admitted;
      const refusal = await this.#rights.refusal({ kind: 'dialer', ...credential }, cluster);
      if (refusal !== undefined) {
        const { status, code, message } = refusal;
        this.#log.warn('connection refused', { cluster, dialer, status, code, error: message });
        return Response.json({ code, message }, { status });
      }
    }
    const problem =
      admitted.kind === 'agent'
        ? tunnelLimitProblem(this.#relay, admitted.cluster)
        : sessionLimitProblem(this.#relay, admitted);
    if (problem !== undefined) {
      const headers = { 'Retry-After': '60' };
      return Response.json({ code: 'overloaded', message: problem }, { status: 503, headers });
    }
    const peer = request.headers.get('CF-Connecting-IP') ?? 'unknown';
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    const attachment: Attachment = { ...admitted, peer, acceptedAtMs: Date.now() };
    server.serializeAttachment(attachment);
    this.#relay.admit(this.#linkOf(server, attachment), admitted);
    if (admitted.kind === 'agent') await this.#noteAgents();
    await this.#watchSilence();
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { 'Sec-WebSocket-Protocol': culvertProtocol },
    });
  }

  /** Serves an HTTP client, whose request goes to an agent of this cluster. */
  async #serve(
    request: Request,
    { address, scheme, host, cluster }: HttpClient,
  ): Promise<Response> {
    if (this.#gatewayOptions === undefined) return new Response('no gateway', { status: 404 });
    this.#gateway ??= new ClusterGateway(this.#gatewayOptions, {
      cluster,
      relay: this.#relay,
      access: this.#openAccess(),
      hadAgent: async () => (await this.ctx.storage.get(stored.agentSeenAtMs)) !== undefined,
      log: this.#log,
    });
    return await this.#gateway.serve(request, { address, scheme, host, isTrustedProxy: false });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    // The runtime answers pings. Other text messages mean nothing, as on every link.
    if (typeof message !== 'string') this.#links.get(socket)?.receive(new Uint8Array(message));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    // 1005 means a close frame without a code, which is an orderly end.
    this.#links.get(socket)?.lost(closeError(code === 1005 ? undefined : code, reason));
    // The other end waits for this answer until it times out.
    socket.close();
  }

  override webSocketError(socket: WebSocket, thrown: unknown): void {
    const message = `the connection was lost: ${describeError(thrown)}`;
    this.#links.get(socket)?.lost(new TunnelError('link_lost', message, { cause: thrown }));
  }

  /**
   * Closes sockets whose other end is dead, because the runtime does not notice it, and those of
   * dialers that have lost their rights.
   */
  override async alarm(): Promise<void> {
    for (const socket of this.#openSockets()) {
      const link = this.#links.get(socket);
      if (link === undefined || link.silentMs <= this.#silenceLimitMs) continue;
      const message = `the other end has been silent for ${Math.round(link.silentMs / 1000)} s`;
      link.close(new TunnelError('peer_unresponsive', message));
    }
    await this.#closeForbidden();
    if (this.#relay.agentCount > 0) await this.#noteAgents();
    await this.#watchSilence();
  }

  async #closeForbidden(): Promise<void> {
    for (const socket of this.#openSockets()) {
      const attachment = socket.deserializeAttachment() as Attachment;
      const { cluster, credential } = attachment;
      if (credential === undefined) continue;
      const problem = await sessionProblem(this.#rights, credential, cluster);
      if (problem !== undefined) this.#links.get(socket)?.close(problem);
    }
  }

  get #rights(): DialerAccess {
    return (this.#dialerAccess ??= new DialerAccess({
      clock: systemClock,
      ...this.#openAccess(),
    }));
  }

  /** A wake for a few bytes reads no rules. */
  #openAccess(): EdgeAccess {
    return (this.#access ??= openEdgeAccess(this.#accessOptions));
  }

  status(): BrokerStatus {
    return this.#relay.status();
  }

  async aliasOf(): Promise<string | undefined> {
    return await this.ctx.storage.get<string>(stored.aliasOf);
  }

  /**
   * This object's name is the alias of this cluster. That never changes, because the alias is a
   * hash of the cluster's name.
   */
  async becomeAliasOf(cluster: string): Promise<void> {
    await this.ctx.storage.put(stored.aliasOf, cluster);
  }

  #linkOf(socket: WebSocket, attachment: Attachment): EdgeLink {
    const { kind, peer, acceptedAtMs, credential } = attachment;
    const pingedAtMs = () => this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
    const guard = this.#guard;
    const link = new EdgeLink(socket, {
      ...{ end: kind, peer, acceptedAtMs, pingedAtMs, guard, credential },
    });
    this.#links.set(socket, link);
    return link;
  }

  /** The sockets of an earlier object in the same place. */
  #survivors(): Survivor[] {
    return this.#openSockets().map((socket) => {
      const snapshot = socket.deserializeAttachment() as Attachment;
      return { link: this.#linkOf(socket, snapshot), snapshot };
    });
  }

  #openSockets(): WebSocket[] {
    return this.ctx
      .getWebSockets()
      .filter(({ readyState }) => readyState === WebSocket.READY_STATE_OPEN);
  }

  async #noteAgents(): Promise<void> {
    await this.ctx.storage.put(stored.agentSeenAtMs, Date.now());
  }

  /**
   * Dials wait for agents that were connected a moment ago. A dial to an unknown cluster gets its
   * answer at once.
   */
  async #expectAgents(): Promise<void> {
    const seenAtMs = (await this.ctx.storage.get<number>(stored.agentSeenAtMs)) ?? -Infinity;
    if (Date.now() - seenAtMs < 2 * this.#silenceLimitMs) this.#relay.expectAgents();
  }

  /** Uses an alarm, which wakes the object, because a timer would keep it from sleeping. */
  async #watchSilence(): Promise<void> {
    if (this.#openSockets().length === 0) return;
    if ((await this.ctx.storage.getAlarm()) !== null) return;
    await this.ctx.storage.setAlarm(Date.now() + this.#silenceLimitMs);
  }

  async #publishAlias(alias: string, cluster: string): Promise<void> {
    try {
      if ((await this.ctx.storage.get(stored.aliasTold)) === true) return;
      await this.env.CLUSTER.getByName(alias).becomeAliasOf(cluster);
      await this.ctx.storage.put(stored.aliasTold, true);
    } catch (thrown) {
      // The cluster works under its own name. The next tunnel tries again.
      this.#log.warn('alias not published', { cluster, alias, error: describeError(thrown) });
    }
  }
}

interface Survivor<Snapshot = Attachment> {
  readonly link: EdgeLink;
  readonly snapshot: Snapshot;
}

function isAgent(survivor: Survivor): survivor is Survivor<Attachment & AgentSnapshot> {
  return survivor.snapshot.kind === 'agent' && 'epoch' in survivor.snapshot;
}
