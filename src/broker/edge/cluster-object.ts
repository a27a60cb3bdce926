import { DurableObject } from 'cloudflare:workers';
import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { closeError } from '../../websocket/close-code.ts';
import { sessionLimitProblem, tunnelLimitProblem } from '../admission.ts';
import type { AgentSnapshot } from '../tunnel-name.ts';
import { Relay } from '../relay.ts';
import { brokerStatus, type BrokerStatus } from '../status.ts';
import { culvertProtocol, decodeAdmitted, type Admitted } from './admitted.ts';
import { createConsoleLogger } from './console-logger.ts';
import { CreditGuard } from './credit-guard.ts';
import { EdgeLink, type Attachment } from './edge-link.ts';
import { readEdgeOptions } from './edge-options.ts';
import type { EdgeEnv } from './env.ts';
import { ObjectDirectory } from './object-directory.ts';

/** Receive windows of streams over the edge: an object has 128 MiB for all of them. */
const maxWindowBytes = 1024 * 1024;

/** In the object's storage. */
const stored = {
  /** In the object that is named like an alias: the cluster's name. */
  aliasOf: 'aliasOf',
  /** In the cluster's object: true once the other one knows. */
  aliasTold: 'aliasTold',
  /** When the cluster last had an agent, in milliseconds since 1970, to within a silence limit. */
  agentSeenAtMs: 'agentSeenAtMs',
} as const;

/**
 * A cluster's Durable Object: its relay and its directory. Between frames it may be put to sleep: the runtime keeps the sockets and answers
 * pings, and the next message makes a new object, which takes the sockets back by what lies with them.
 */
export class ClusterObject extends DurableObject<EdgeEnv> {
  readonly #log: Logger;
  readonly #silenceLimitMs: number;
  readonly #guard = new CreditGuard();
  readonly #links = new WeakMap<WebSocket, EdgeLink>();
  readonly #relay: Relay;

  constructor(ctx: DurableObjectState, env: EdgeEnv) {
    super(ctx, env);
    const { logLevel, silenceLimitMs } = readEdgeOptions(env);
    const replica = `edge-${ctx.id.toString().slice(0, 12)}`;
    this.#log = createConsoleLogger(logLevel, { replica });
    this.#silenceLimitMs = silenceLimitMs;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'));
    const survivors = this.#survivors();
    const agents = survivors.filter(isAgent).sort((a, b) => a.kept.epoch - b.kept.epoch);
    this.#relay = new Relay({
      replica,
      address: '',
      directory: new ObjectDirectory({
        survivors: agents
          .filter(({ kept }) => !kept.leaving)
          .map(({ kept: { cluster, agent, instance, tunnel, epoch } }) => {
            return { cluster, agent, instance, tunnel, epoch, replica, address: '' };
          }),
        publishAlias: (alias, cluster) => this.#publishAlias(alias, cluster),
      }),
      clock: systemClock,
      log: this.#log,
      // There is no other object to move to, and a timer would keep this one awake.
      maxTunnelAgeMs: Infinity,
      onSnapshot: (link, kept) => (link as EdgeLink).keep(kept),
      sessionLimits: { maxWindow: maxWindowBytes },
    });
    for (const { link, kept } of agents) this.#relay.restoreAgent(link, kept);
    // A new version, or the runtime has moved the object: its agents have lost their tunnels, too.
    if (agents.length === 0) void ctx.blockConcurrencyWhile(() => this.#expectAgents());
    for (const { link, kept } of survivors) {
      if ('session' in kept) {
        link.watch(kept.session);
        this.#relay.restoreDialer(link, kept);
      } else if (!('epoch' in kept)) {
        this.#admit(link, kept);
      }
    }
  }

  /** An upgrade that the Worker has let in. */
  override async fetch(request: Request): Promise<Response> {
    const admitted = decodeAdmitted(request);
    if (admitted === undefined) return new Response('only for the Worker', { status: 403 });
    const { cluster } = admitted;
    if (admitted.role === 'agent') {
      const { agent, instance, tunnel } = admitted;
      if (this.#relay.holdsAnother(cluster, agent, tunnel, instance)) {
        const message = `agent ${agent} has a tunnel already, and on the edge there is one place for a cluster`;
        // Not soon: each attempt wakes the object.
        const headers = { 'Retry-After': '3600' };
        return Response.json({ code: 'already_here', message }, { status: 409, headers });
      }
    }
    const problem =
      admitted.role === 'agent'
        ? tunnelLimitProblem(this.#relay, cluster)
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
    this.#admit(this.#linkOf(server, attachment), admitted);
    if (admitted.role === 'agent') await this.#noteAgents();
    await this.#watchSilence();
    return new Response(null, {
      status: 101,
      webSocket: client,
      headers: { 'Sec-WebSocket-Protocol': culvertProtocol },
    });
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    // Pings are answered by the runtime; another text means nothing, as on every link.
    if (typeof message !== 'string') this.#links.get(socket)?.receive(new Uint8Array(message));
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    // 1005 stands for a close frame without a code, which is an orderly end.
    this.#links.get(socket)?.lost(closeError(code === 1005 ? undefined : code, reason));
    // Without an answer the other end waits for one until its patience ends.
    socket.close();
  }

  override webSocketError(socket: WebSocket, thrown: unknown): void {
    const message = `the connection was lost: ${describeError(thrown)}`;
    this.#links.get(socket)?.lost(new TunnelError('link_lost', message, { cause: thrown }));
  }

  /** Closes sockets whose other end is dead; the runtime does not notice by itself. */
  override async alarm(): Promise<void> {
    for (const socket of this.#openSockets()) {
      const link = this.#links.get(socket);
      if (link === undefined || link.silentMs <= this.#silenceLimitMs) continue;
      const message = `the other end has been silent for ${Math.round(link.silentMs / 1000)} s`;
      link.close(new TunnelError('peer_unresponsive', message));
    }
    if (this.#relay.agentCount > 0) await this.#noteAgents();
    await this.#watchSilence();
  }

  status(): BrokerStatus {
    return brokerStatus(this.#relay);
  }

  /** The cluster whose alias is the name of this object. */
  async aliasOf(): Promise<string | undefined> {
    return await this.ctx.storage.get<string>(stored.aliasOf);
  }

  /** The name of this object is the alias of this cluster, for ever: it is a hash of its name. */
  async becomeAliasOf(cluster: string): Promise<void> {
    await this.ctx.storage.put(stored.aliasOf, cluster);
  }

  #admit(link: EdgeLink, admitted: Admitted): void {
    const { cluster } = admitted;
    if (admitted.role === 'agent') {
      const { agent, instance, tunnel } = admitted;
      this.#relay.admitAgent(link, cluster, agent, tunnel, instance);
    } else {
      this.#relay.admitDialer(link, cluster, admitted.dialer);
    }
  }

  #linkOf(socket: WebSocket, { role, peer, acceptedAtMs }: Attachment): EdgeLink {
    const pingedAtMs = () => this.ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
    const guard = this.#guard;
    const link = new EdgeLink(socket, { end: role, peer, acceptedAtMs, pingedAtMs, guard });
    this.#links.set(socket, link);
    return link;
  }

  /** Sockets that an earlier object left behind. */
  #survivors(): Survivor[] {
    return this.#openSockets().map((socket) => {
      const kept = socket.deserializeAttachment() as Attachment;
      return { link: this.#linkOf(socket, kept), kept };
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

  /** Dials wait for agents that were there a moment ago; a name that was never a cluster's gets its answer at once. */
  async #expectAgents(): Promise<void> {
    const seenAtMs = (await this.ctx.storage.get<number>(stored.agentSeenAtMs)) ?? -Infinity;
    if (Date.now() - seenAtMs < 2 * this.#silenceLimitMs) this.#relay.expectAgents();
  }

  /** An alarm wakes the object where a timer would keep it from sleeping. */
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
      // The cluster works under its own name; the next tunnel tries again.
      this.#log.warn('alias not published', { cluster, alias, error: describeError(thrown) });
    }
  }
}

interface Survivor<Kept = Attachment> {
  readonly link: EdgeLink;
  readonly kept: Kept;
}

function isAgent(survivor: Survivor): survivor is Survivor<Attachment & AgentSnapshot> {
  return survivor.kept.role === 'agent' && 'epoch' in survivor.kept;
}
