// A service's connection, any operation of the API, and subscriptions.
import { Call, type Connection, failed, forOneUser, refuse, unless, type Variables } from './connection.js';
import type { Operations } from './documents.js';
import type { ListenerOptions, LiveOptions, LiveRevisionOptions, LiveTextOptions } from './live.js';
import * as rows from './rows.js';
import type { TopicName } from './topics.js';
import type * as types from './types.js';

/** The settings of a connection. An undefined one counts as absent, except the token: without a token, no user is signed in. */
export type Settings = { [Name in keyof Connection]?: Connection[Name] | undefined };

/** Receives a call of the new user; undefined if the user is not known before the next call. */
type CallerListener = (call: Call | undefined) => void;

/** A connection and its last user. */
export class Access {
  #connection: Connection;
  #user: string | undefined;
  readonly #listeners = new Set<CallerListener>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get connection(): Connection {
    return this.#connection;
  }

  set(settings: Settings): void {
    const before = this.#connection;
    const now = (this.#connection = merged(before, settings));
    const { url, token } = now;
    if (typeof token !== 'function' || token !== before.token || url !== before.url) this.#notify(Call.atOnce(now));
    // The same function may return another token by now.
    else this.begin().then((call) => this.#notify(call), () => {});
  }

  /** Begins a call by a connection, which `set` may have replaced since. */
  async begin(connection = this.#connection): Promise<Call> {
    const call = await Call.begin(connection);
    if (connection === this.#connection && call.user !== this.#user) this.#notify(call);
    return call;
  }

  /** Calls back after `set`, and if a call has another user than the call before. Returns a function that ends this. */
  onCaller(listener: CallerListener): () => void {
    const own: CallerListener = (call) => listener(call);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  #notify(call?: Call): void {
    this.#user = call?.user ?? this.#user;
    for (const listener of [...this.#listeners]) listener(call);
  }
}

const merged = (base: Connection, settings: Settings): Connection => ({
  url: settings.url ?? base.url,
  token: 'token' in settings ? (settings.token ?? null) : base.token,
  fetch: settings.fetch ?? base.fetch,
});

/** The connection of all services that are made without one. */
const shared = new Access({ url: '/graphql', token: null, fetch: (...request) => fetch(...request) });

/** Sets the server and the user of all services that have no connection of their own. */
export function connect(settings: Settings): void {
  shared.set(settings);
}

/** A document with the types of its result and variables: of this package, of graphql-codegen or of gql.tada. */
export interface TypedDocument<Result, Values> {
  __apiType?: (variables: Values) => Result;
}

/** The text of a document. What prints a parsed one is loaded when it is first needed. */
async function textOf(document: unknown): Promise<string> {
  if (typeof document === 'string' || document instanceof String) return document.toString();
  return (await load(import('./print.js'))).textOfDocument(document);
}

/** Variables may be left out if none must be given. */
type Values<V> = Record<string, never> extends V ? [variables?: V, options?: QueryOptions] : [variables: V, options?: QueryOptions];

export interface QueryOptions {
  signal?: AbortSignal;
}

export class Client {
  readonly #access: Access;

  /** With a connection of its own, or with the module's, which `connect` sets. */
  constructor(settings?: Settings) {
    this.#access = settings ? new Access(merged({ ...shared.connection, token: null }, settings)) : shared;
  }

  /** Sets the module's connection. */
  connect(settings: Settings): this {
    if (this.#access !== shared) throw refuse('connection', 'This service has its own connection.');
    connect(settings);
    return this;
  }

  protected begin(): Promise<Call> {
    return this.#access.begin();
  }

  /** Begins all requests of one call for the same user, even if `connect` changes the module's connection meanwhile. */
  protected pinned(): () => Promise<Call> {
    const { connection } = this.#access;
    const own = forOneUser();
    return async () => own(await this.#access.begin(connection));
  }

  /** The present token, and a name of its user that is the same for all tokens of this user. */
  async getCaller(): Promise<{ token: string | null; user: string }> {
    const { token, user } = await this.begin();
    return { token, user };
  }

  /**
   * Calls back after `connect`, and if a token has another user than the token before: with the user's name, or undefined if the
   * user is not known before the next call. Returns a function that ends this.
   */
  onCaller(listener: (user: string | undefined) => void): () => void {
    return this.#access.onCaller((call) => listener(call?.user));
  }

  /** One operation of the package's own. */
  protected async ask<Name extends keyof Operations>(name: Name, variables: Variables): Promise<Operations[Name][0]> {
    return (await this.begin()).ask(name, variables);
  }

  /** Runs a query or a mutation. Throws if any part of it fails: `AntiphonError.data` has the parts that did not. */
  async query<Result = any, V = Variables>(document: TypedDocument<Result, V> | string, ...[variables, options]: Values<V>): Promise<Result> {
    const signal = options?.signal;
    const run = async () => (await this.begin()).run(await textOf(document), variables ?? {}, signal);
    return unless(signal, run()) as Promise<Result>;
  }

  /** The project's present revision: pass it as `afterRevision` to miss nothing from here on. */
  async getRevision(projectId: string): Promise<number> {
    return rows.revision(await this.ask('Revision', { id: projectId }));
  }

  /** The messages of a session, each once and oldest first. */
  onMessage(sessionId: string, options?: LiveRevisionOptions): AsyncGenerator<types.LiveMessage, void, undefined>;
  onMessage(sessionId: string, listener: (message: types.LiveMessage) => unknown, options?: LiveRevisionOptions & ListenerOptions): () => void;
  onMessage(sessionId: string, ...rest: Listening<types.LiveMessage>): Listened<types.LiveMessage> {
    return this.#listen('OnMessage', sessionId, rest);
  }

  /** The changes of a project's files, all of one write together, each write once and oldest first. */
  onCodeChange(projectId: string, options?: LiveRevisionOptions): AsyncGenerator<types.LiveCodeChange, void, undefined>;
  onCodeChange(projectId: string, listener: (change: types.LiveCodeChange) => unknown, options?: LiveRevisionOptions & ListenerOptions): () => void;
  onCodeChange(projectId: string, ...rest: Listening<types.LiveCodeChange>): Listened<types.LiveCodeChange> {
    return this.#listen('OnCodeChange', projectId, rest);
  }

  /** Everything that happens in a project, each event once and oldest first. */
  onProjectEvent(projectId: string, options?: LiveRevisionOptions): AsyncGenerator<types.ProjectEvent, void, undefined>;
  onProjectEvent(projectId: string, listener: (event: types.ProjectEvent) => unknown, options?: LiveRevisionOptions & ListenerOptions): () => void;
  onProjectEvent(projectId: string, ...rest: Listening<types.ProjectEvent>): Listened<types.ProjectEvent> {
    return this.#listen('OnProjectEvent', projectId, rest);
  }

  /**
   * The text of a message while it is being written, from `afterOffset` on (in bytes of UTF-8; 0 without it). The last piece is
   * `finished`, with the message, or `discarded`.
   */
  onMessageText(messageId: string, options?: LiveTextOptions): AsyncGenerator<types.MessageText, void, undefined>;
  onMessageText(messageId: string, listener: (piece: types.MessageText) => unknown, options?: LiveTextOptions & ListenerOptions): () => void;
  onMessageText(messageId: string, ...rest: Listening<types.MessageText>): Listened<types.MessageText> {
    return this.#listen('OnMessageText', messageId, rest);
  }

  /** The subscribers of a project: now, and again after each change of them. */
  onPresence(projectId: string, options?: LiveOptions): AsyncGenerator<types.Presence[], void, undefined>;
  onPresence(projectId: string, listener: (people: types.Presence[]) => unknown, options?: LiveOptions & ListenerOptions): () => void;
  onPresence(projectId: string, ...rest: Listening<types.Presence[]>): Listened<types.Presence[]> {
    return this.#listen('OnPresence', projectId, rest);
  }

  #listen<Item>(name: TopicName, id: string, [first, second]: Listening<Item>): Listened<Item> {
    const options = (typeof first === 'function' ? second : first) ?? {};
    const access = this.#access;
    const items = cancellable(options.signal, async function* (stop): AsyncGenerator<any, void, undefined> {
      const { listen } = await load(import('./live.js'));
      yield* listen(access, name, id, options, stop);
    });
    return typeof first === 'function' ? deliver(items, first, options) : items;
  }
}

/** A part of the package that is loaded when it is first used. */
export async function load<Module>(module: Promise<Module>): Promise<Module> {
  return module.catch((cause: unknown) => {
    throw failed('A part of the package cannot be loaded.', cause);
  });
}

/** Items until a signal, or until `return`, also while one is awaited. */
function cancellable<Item>(
  signal: AbortSignal | undefined,
  generate: (stop: AbortController) => AsyncGenerator<Item, void, undefined>,
): AsyncGenerator<Item, void, undefined> {
  const stop = new AbortController();
  const end = () => stop.abort();
  const items = (async function* () {
    signal?.addEventListener('abort', end);
    if (signal?.aborted) end();
    try {
      yield* generate(stop);
    } finally {
      signal?.removeEventListener('abort', end);
    }
  })();
  const finish = items.return.bind(items);
  items.return = (value) => {
    end();
    return finish(value);
  };
  return items;
}

/** Gives each item to a listener, one after the other. Returns what ends it. */
function deliver<Item>(
  items: AsyncGenerator<Item, void, undefined>,
  listener: (item: Item) => unknown,
  { signal, onError = console.error }: AnyOptions,
): () => void {
  let isOver = false;
  const run = async () => {
    for await (const item of items) {
      if (isOver || signal?.aborted) return;
      await listener(item);
    }
  };
  run().catch(onError);
  return () => {
    isOver = true;
    void items.return();
  };
}

type AnyOptions = LiveRevisionOptions & LiveTextOptions & ListenerOptions;
type Listening<Item> = [first?: AnyOptions | ((item: Item) => unknown), second?: AnyOptions];
type Listened<Item> = any & (AsyncGenerator<Item, void, undefined> | (() => void));
