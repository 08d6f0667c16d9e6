// A service's connection, and what it offers whatever is asked: any operation, and listening.
import { AntiphonError, Call, type Connection, refuse, type Variables } from './connection.js';
import type { Operations } from './documents.js';
import { deliver, listen, type ListenerOptions, type LiveOptions, type LiveRevisionOptions, type Topic } from './live.js';
import * as rows from './rows.js';
import type * as types from './types.js';

/** The connection of all services that are made without one. */
let shared: Connection = { url: '/graphql', token: null, fetch: (...request) => fetch(...request) };

/** Sets where the server is and who asks, for every service that is made without a connection of its own. */
export function connect(connection: Partial<Connection>): void {
  shared = { ...shared, ...connection };
}

/** What was asked of something that must be there. */
export function found<T>(value: T | null | undefined, noun: string): T {
  if (value === null || value === undefined) {
    throw new AntiphonError(`There is no such ${noun}.`, { code: 'NOT_FOUND' });
  }
  return value;
}

/** A node of the kind that was asked for: of another kind none of its fields is there. */
export function ofKind<T extends object>(node: T | null | undefined | Record<string, never>): T | null {
  return node && Object.keys(node).length > 0 ? (node as T) : null;
}

/** A document with the types of its result and variables: of this package, of graphql-codegen or of gql.tada. */
export interface TypedDocument<Result, Values> {
  __apiType?: (variables: Values) => Result;
}

/** The text of a document. What prints a parsed one is loaded when it is first needed. */
async function textOf(document: unknown): Promise<string> {
  if (typeof document === 'string' || document instanceof String) return document.toString();
  return (await import('./print.js')).print(document as Parameters<typeof import('./print.js').print>[0]);
}

/** Variables may be left out if none must be given. */
type Values<V> = Record<string, never> extends V ? [variables?: V, options?: QueryOptions] : [variables: V, options?: QueryOptions];

export interface QueryOptions {
  signal?: AbortSignal;
}

export class Client {
  readonly #own: Connection | null;

  /** With a connection of its own, or with the module's, which `connect` sets. */
  constructor(connection?: Partial<Connection>) {
    this.#own = connection ? { ...shared, token: null, ...connection } : null;
  }

  /** Sets the module's connection. */
  connect(connection: Partial<Connection>): this {
    if (this.#own) throw refuse('connection', 'This service has a connection of its own; make another.');
    connect(connection);
    return this;
  }

  protected begin(): Promise<Call> {
    return Call.begin(this.#own ?? shared);
  }

  /** What begins all requests of one call for the same user, even if `connect` changes the module's connection meanwhile. */
  protected pinned(): () => Promise<Call> {
    const connection = { ...(this.#own ?? shared) };
    return () => Call.begin(connection);
  }

  /** One operation of the package's own. */
  protected async ask<Name extends keyof Operations>(name: Name, variables: Variables): Promise<Operations[Name][0]> {
    return (await this.begin()).ask(name, variables);
  }

  /** Runs a query or a mutation. Throws if any part of it fails: `AntiphonError.data` has the parts that did not. */
  async query<Result = any, V = Variables>(document: TypedDocument<Result, V> | string, ...[variables, options]: Values<V>): Promise<Result> {
    const call = await this.begin();
    return call.run(await textOf(document), variables ?? {}, options?.signal) as Promise<Result>;
  }

  /** The project's present revision: pass it as `afterRevision` to miss nothing from here on. */
  async getRevision(projectId: string): Promise<number> {
    return revisionOf(await this.begin(), projectId);
  }

  /** The messages of a session, each once and oldest first. */
  onMessage(sessionId: string, options?: LiveRevisionOptions): AsyncGenerator<types.LiveMessage, void, undefined>;
  onMessage(
    sessionId: string,
    listener: (message: types.LiveMessage) => unknown,
    options?: LiveRevisionOptions & ListenerOptions,
  ): () => void;
  onMessage(sessionId: string, ...rest: Listening<types.LiveMessage>): Listened<types.LiveMessage> {
    type Data = Operations['OnMessage'][0];
    return this.#listen<Data, types.LiveMessage>(rest, {
      name: 'OnMessage',
      id: sessionId,
      start: async (call) => {
        const node = ofKind((await call.ask('SessionRevision', { id: sessionId })).node);
        return found(node && 'project' in node ? node.project : null, 'session').revision;
      },
      read: ({ messageAdded: row }, position) =>
        isNews(row, position) ? { item: { ...rows.message(row), revision: row.revision }, position: row.revision } : null,
    });
  }

  /** The changes of a project's files, all of one write together, each write once and oldest first. */
  onCodeChange(projectId: string, options?: LiveRevisionOptions): AsyncGenerator<types.LiveCodeChange, void, undefined>;
  onCodeChange(
    projectId: string,
    listener: (change: types.LiveCodeChange) => unknown,
    options?: LiveRevisionOptions & ListenerOptions,
  ): () => void;
  onCodeChange(projectId: string, ...rest: Listening<types.LiveCodeChange>): Listened<types.LiveCodeChange> {
    return this.#listen<Operations['OnCodeChange'][0], types.LiveCodeChange>(rest, {
      name: 'OnCodeChange',
      id: projectId,
      start: (call) => revisionOf(call, projectId),
      read: ({ codeChanged: row }, position) =>
        isNews(row, position) ? { item: rows.liveCodeChange(row, projectId), position: row.revision } : null,
    });
  }

  /** Everything that happens in a project, each event once and oldest first. */
  onProjectEvent(projectId: string, options?: LiveRevisionOptions): AsyncGenerator<types.ProjectEvent, void, undefined>;
  onProjectEvent(
    projectId: string,
    listener: (event: types.ProjectEvent) => unknown,
    options?: LiveRevisionOptions & ListenerOptions,
  ): () => void;
  onProjectEvent(projectId: string, ...rest: Listening<types.ProjectEvent>): Listened<types.ProjectEvent> {
    return this.#listen<Operations['OnProjectEvent'][0], types.ProjectEvent>(rest, {
      name: 'OnProjectEvent',
      id: projectId,
      start: (call) => revisionOf(call, projectId),
      read: ({ projectEvents: row }, position) =>
        isNews(row, position) ? { item: rows.projectEvent(row, projectId), position: row.revision } : null,
    });
  }

  /**
   * The text of a message while it is being written, from `afterOffset` on (in bytes of UTF-8; 0 without it). The last piece is
   * `finished`, with the message, or `discarded`.
   */
  onMessageText(messageId: string, options?: LiveTextOptions): AsyncGenerator<types.MessageText, void, undefined>;
  onMessageText(
    messageId: string,
    listener: (piece: types.MessageText) => unknown,
    options?: LiveTextOptions & ListenerOptions,
  ): () => void;
  onMessageText(messageId: string, ...rest: Listening<types.MessageText>): Listened<types.MessageText> {
    return this.#listen<Operations['OnMessageText'][0], types.MessageText>(rest, {
      name: 'OnMessageText',
      id: messageId,
      read: ({ messageStream: row }) => {
        const item = rows.messageText(row);
        const isLast = item.state === 'finished' || item.state === 'discarded';
        return { item, position: row.nextOffset, isLast };
      },
    });
  }

  /** The people who listen to a project: now, and again each time that changes. */
  onPresence(projectId: string, options?: LiveOptions): AsyncGenerator<types.Presence[], void, undefined>;
  onPresence(
    projectId: string,
    listener: (people: types.Presence[]) => unknown,
    options?: LiveOptions & ListenerOptions,
  ): () => void;
  onPresence(projectId: string, ...rest: Listening<types.Presence[]>): Listened<types.Presence[]> {
    return this.#listen<Operations['OnPresence'][0], types.Presence[]>(rest, {
      name: 'OnPresence',
      id: projectId,
      read: ({ presence }) => ({ item: presence.map(rows.presence) }),
    });
  }

  #listen<Data, Item>([first, second]: Listening<Item>, topic: Topic<Data, Item>): Listened<Item> {
    const items = ({ afterRevision, afterOffset, ...options }: AnyOptions) =>
      listen(() => this.begin(), topic, afterRevision ?? afterOffset, options);
    return typeof first === 'function' ? deliver(items, first, second ?? {}) : items(first ?? {});
  }
}

export interface LiveTextOptions extends LiveOptions {
  /** How much of the text is known, in bytes of UTF-8: the last `next_offset`. */
  afterOffset?: number | undefined;
}

type AnyOptions = LiveRevisionOptions & LiveTextOptions & ListenerOptions;
type Listening<Item> = [first?: AnyOptions | ((item: Item) => unknown), second?: AnyOptions];
type Listened<Item> = any & (AsyncGenerator<Item, void, undefined> | (() => void));

async function revisionOf(call: Call, projectId: string): Promise<number> {
  return found((await call.ask('Revision', { id: projectId })).project, 'project').revision;
}

const isNews = ({ revision }: { revision: number }, position = -1) => revision > position;
