import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';

/** A write at which the program behind the proxy was killed. */
export interface Step {
  readonly verb: 'create' | 'update' | 'delete';
  /** `secrets`, `managedclusteraddons/status` */
  readonly resource: string;
  /** `namespace/name`, or the name alone. */
  readonly object: string;
  /** Whether the server had carried it out by then. The program did not hear of it either way. */
  readonly when: 'before' | 'after';
}

export interface KillingProxyOptions {
  readonly server: URL;
  /** PEM. */
  readonly ca: string;
  /** Kills the program, and resolves when it is gone. Later requests are from the next program. */
  readonly kill: (step: Step) => Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

interface StoredObject {
  readonly metadata: {
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
  };
}

const writeTimeoutMs = 20_000;
const reading = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Stands between one program and its API server, over plain HTTP on loopback, and kills the program at its first write that changes
 * something: once the server has carried it out, and before the program hears of it. The first time that a kind of write is about to
 * happen it is killed right before as well. What changes nothing passes.
 */
export class KillingProxy {
  readonly #options: KillingProxyOptions;
  readonly #agent: Agent;
  readonly #server = createServer();
  readonly #stoppedBefore = new Set<string>();
  /** One write at a time: else two could be carried out in one life. */
  #queue: Promise<void> = Promise.resolve();
  #life = 0;
  #passed = 0;

  constructor(options: KillingProxyOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, ca: options.ca });
    this.#server.on('request', (incoming, response) => {
      this.#handle(incoming, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  /** Writes of the program that lives now, which changed nothing. */
  get passed(): number {
    return this.#passed;
  }

  /** @returns the port */
  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const life = this.#life;
    if (reading.has(incoming.method!)) {
      this.#pass(incoming, response);
      return;
    }
    const body = await buffer(incoming);
    const turn = this.#queue.then(() => this.#write(life, incoming, body, response));
    this.#queue = turn.catch(() => {});
    await turn;
  }

  /** Answers to watches come as they happen. */
  #pass(incoming: IncomingMessage, response: ServerResponse): void {
    const outgoing = this.#request(incoming.method!, incoming.url!, incoming.headers);
    outgoing.on('response', (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    outgoing.end();
  }

  async #write(
    life: number,
    { method, url, headers }: IncomingMessage,
    body: Buffer,
    response: ServerResponse,
  ): Promise<void> {
    // From one who was killed while another write of his was under way.
    if (life !== this.#life) return void response.destroy();
    const target = targetOf(method!, url!);
    const { authorization } = headers;
    const before =
      target.path === undefined ? undefined : await this.#get(target.path, authorization);
    const step = {
      verb: verbOf(method!, before),
      resource: target.resource,
      object: target.object,
    };
    const kind = `${step.verb} ${step.resource}`;
    const send = (to: string) => this.#send(method!, to, headers, body);
    if (!this.#stoppedBefore.has(kind) && (await wouldChange(step, before, url!, send))) {
      this.#stoppedBefore.add(kind);
      await this.#kill({ ...step, when: 'before' });
      return void response.destroy();
    }
    const answer = await send(url!);
    if (hasChanged(step, before, answer)) {
      await this.#kill({ ...step, when: 'after' });
      return void response.destroy();
    }
    this.#passed++;
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  async #kill(step: Step): Promise<void> {
    await this.#options.kill(step);
    // Not before it is gone: until then it may send more.
    this.#life++;
    this.#passed = 0;
  }

  async #get(path: string, authorization: string | undefined): Promise<StoredObject | undefined> {
    const { status, body } = await this.#send('GET', path, { authorization }, Buffer.alloc(0));
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`GET ${path} is answered ${status}: ${body.toString()}`);
    return JSON.parse(body.toString()) as StoredObject;
  }

  async #send(
    method: string,
    url: string,
    headers: IncomingMessage['headers'],
    body: Buffer,
  ): Promise<Answer> {
    const outgoing = this.#request(method, url, headers, AbortSignal.timeout(writeTimeoutMs));
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    const { statusCode: status = 0, headers: said } = answer;
    return { status, headers: said, body: await buffer(answer) };
  }

  #request(method: string, url: string, headers: IncomingMessage['headers'], signal?: AbortSignal) {
    const { host: _, connection: __, ...kept } = headers;
    const given = Object.fromEntries(
      Object.entries(kept).filter(([, value]) => value !== undefined),
    );
    const { server } = this.#options;
    const options = { method, headers: given, agent: this.#agent, ...(signal && { signal }) };
    return request(new URL(url, server), options);
  }
}

/** What a path of the API is about; without `path` where the server names the object or stores none. */
function targetOf(method: string, url: string) {
  const [path = ''] = url.split('?');
  const parts = path.split('/').slice(1);
  const root = parts[0] === 'api' ? 2 : 3;
  const rest = parts.slice(root);
  const isNamespaced = rest[0] === 'namespaces' && rest.length > 2;
  const [namespace, [resource = '', name, ...sub]] = isNamespaced
    ? [rest[1], rest.slice(2)]
    : [undefined, rest];
  const object = [namespace, name]
    .filter((part) => part !== undefined)
    .map(decodeURIComponent)
    .join('/');
  const end = parts.length - sub.length;
  return {
    resource: [resource, ...sub].join('/'),
    object,
    path: method === 'POST' ? undefined : `/${parts.slice(0, end).join('/')}`,
  };
}

function verbOf(method: string, before: StoredObject | undefined): Step['verb'] {
  if (method === 'DELETE') return 'delete';
  return before === undefined ? 'create' : 'update';
}

type Change = Pick<Step, 'verb'>;

function hasChanged(
  { verb }: Change,
  before: StoredObject | undefined,
  { status, body }: Answer,
): boolean {
  if (status >= 300) return false;
  // The answer may be the object as it was.
  if (verb === 'delete') return isThere(before);
  const after = JSON.parse(body.toString()) as StoredObject;
  // A review is answered, and stored nowhere.
  if (before === undefined) return after.metadata.uid !== undefined;
  return after.metadata.resourceVersion !== before.metadata.resourceVersion;
}

async function wouldChange(
  { verb }: Change,
  before: StoredObject | undefined,
  url: string,
  send: (url: string) => Promise<Answer>,
): Promise<boolean> {
  // Its body would count more than what the URL says of a dry run.
  if (verb === 'delete') return isThere(before);
  const { status, body } = await send(`${url}${url.includes('?') ? '&' : '?'}dryRun=All`);
  if (status >= 300) return false;
  const after = JSON.parse(body.toString()) as StoredObject;
  if (before === undefined) return after.metadata.uid !== undefined;
  // A dry run gives no new version.
  return !isDeepStrictEqual(withoutBookkeeping(after), withoutBookkeeping(before));
}

function isThere(object: StoredObject | undefined): boolean {
  return object !== undefined && object.metadata.deletionTimestamp === undefined;
}

function withoutBookkeeping({ metadata, ...object }: StoredObject): unknown {
  const kept = Object.entries(metadata).filter(
    ([key]) => !['managedFields', 'resourceVersion', 'generation'].includes(key),
  );
  return { ...object, metadata: Object.fromEntries(kept) };
}
