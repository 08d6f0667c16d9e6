// The requests of one call: their server and user are fixed at its start, so a call of several requests has one user.
import type { Page } from './arguments.js';
import type { Operations, PageEndFragment } from './documents.js';
import { textOf, type Texts } from './texts.js';
import type { Paginated } from './types.js';

/** The server and the user of requests. */
export interface Connection {
  /** The GraphQL endpoint; `/graphql` of the page's own host by default. */
  url: string;
  /** The user's access token (Supabase: `session.access_token`). A function is called for each call. */
  token: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** The global `fetch` by default. */
  fetch: typeof fetch;
}

/** Why a call failed. */
export class AntiphonError extends Error {
  /** A code of the API, such as `NOT_FOUND`, `BAD_USER_INPUT` or `CONFLICT`; `NETWORK` without a response of the API. */
  readonly code: string;
  /** The details of the error: `field`, `currentVersion` and so on. */
  readonly extensions: Record<string, unknown>;
  /** The HTTP status; absent if there was no response. */
  readonly status: number | undefined;
  /** All errors of the response, unchanged; empty without a response of the API. */
  readonly errors: readonly Problem[];
  /** The data of the response: the parts that did not fail. */
  readonly data: unknown;

  constructor(
    message: string,
    extensions: Record<string, unknown> = {},
    { status, cause, errors = [], data }: { status?: number | undefined; cause?: unknown; errors?: Problem[]; data?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'AntiphonError';
    this.code = typeof extensions.code === 'string' ? extensions.code : 'INTERNAL';
    this.extensions = extensions;
    this.status = status;
    this.errors = errors;
    this.data = data;
  }
}

/** An error of a GraphQL answer. */
export interface Problem {
  message: string;
  path?: (string | number)[];
  extensions?: Record<string, unknown>;
}

/** What proxies refuse by status: the API's code for it, and the reason. */
const REFUSALS: Record<number, [string, string]> = {
  413: ['PAYLOAD_TOO_LARGE', 'refuses a request of this size'],
  429: ['RATE_LIMITED', 'refuses more requests at present'],
};

/** A GraphQL answer's data. Throws its first error. An error without a code of the API is from somewhere else, such as a gateway. */
export function dataOf(text: string, status: number, url: string): unknown {
  let answer: unknown;
  let cause: unknown;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    cause = error;
  }
  const { errors, data } = Object(answer) as { errors?: Problem[]; data?: unknown };
  if (!errors?.length && data) return data;
  const { message, extensions } = Object(errors?.[0]) as Partial<Problem>;
  const isOfApi = message && typeof extensions?.code === 'string';
  const [refusal, reason] = REFUSALS[status] ?? ['NETWORK', 'does not answer as an Antiphon server'];
  const what = cause && /^\s*\{/.test(text) ? endedEarly(url) : `${url} ${reason}`;
  // Another token may help against a gateway's 401, as against the server's.
  const code = status === 401 ? 'UNAUTHENTICATED' : isOfApi ? extensions.code : refusal;
  throw new AntiphonError(
    isOfApi ? message : `${what}: HTTP status ${status}${message ? `, ${message}` : ''}.`,
    { ...extensions, code },
    { status, cause, errors: message ? errors! : [], data },
  );
}

export const endedEarly = (url: string) => `The answer of ${url} ended early`;

/** The failure of a request that has no whole answer. */
export const failed = (message: string, cause?: unknown, status?: number) =>
  new AntiphonError(message, { code: 'NETWORK' }, { status, cause });

/** The error for an invalid argument. */
export function refuse(field: string, message: string): AntiphonError {
  return new AntiphonError(message, { code: 'BAD_USER_INPUT', field });
}

/** The result of a promise, unless the signal comes first: then its reason is thrown. */
export function unless<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal?.reason);
    promise.then(resolve, reject).finally(() => signal?.removeEventListener('abort', end)).catch(() => {});
    signal?.addEventListener('abort', end);
    if (signal?.aborted) end();
  });
}

export type Variables = Record<string, unknown>;
export type Part<Node> =
  | { nodes?: Node[]; totalCount?: number; pageInfo: PageEndFragment }
  | null
  | undefined;

/** How a list of the API is read: the rows a request may have, and the way that it goes. */
export interface List<Node, Row> {
  size: number;
  row: (node: Node) => Row;
  ask: (part: Variables) => Promise<Part<Node>>;
  /** Whether the page's order is the reverse of the list's. */
  isReversed?: boolean;
}

/** The issuer and subject of a JWT, equal for all tokens of one user; undefined for any other token. */
function subjectOf(token: string | null): string | undefined {
  try {
    const { iss, sub } = JSON.parse(atob(token!.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')));
    return sub ? JSON.stringify([iss, sub]) : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a function that returns the calls of one user, and fails for a call of another user, or without a user. */
export function forOneUser(): (call: Call) => Call {
  let user: string | undefined;
  return (call) => {
    const subject = subjectOf(call.token);
    user ??= subject;
    if (user && subject !== user) {
      if (subject) throw new AntiphonError('Another user has signed in.', { code: 'FORBIDDEN' });
      if (!call.token) throw new AntiphonError('The user has signed out.', { code: 'UNAUTHENTICATED' });
    }
    return call;
  };
}

/** Columns that the API names in another way. */
const COLUMNS: Record<string, string> = { path: 'file_path', type: 'file_type', after: 'timestamp_after', before: 'timestamp_before' };

/** Throws an error of the API with its `field` as the caller names it: a column, as in rows. */
export function inColumns(error: unknown, columns = COLUMNS): never {
  const { extensions } = Object(error) as AntiphonError;
  if (typeof extensions?.field === 'string') {
    const column = extensions.field.replace('filter.', '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    extensions.field = columns[column] ?? column;
  }
  throw error;
}

const tokenOf = ({ token }: Connection) => (typeof token === 'function' ? token() : token);

/** The requests of one call. */
export class Call {
  readonly url: string;
  readonly #token: string | null;
  readonly #fetch: typeof fetch;

  constructor({ url, fetch }: Connection, token: string | null | undefined) {
    this.url = url;
    this.#token = token || null;
    this.#fetch = fetch;
  }

  /** Begins a call if the token is known at once. */
  static atOnce(connection: Connection): Call | undefined {
    try {
      const token = tokenOf(connection);
      if (typeof token !== 'object' || !token) return new Call(connection, token);
      token.catch(() => {});
    } catch {
      // The next call reports it.
    }
    return undefined;
  }

  static async begin(connection: Connection): Promise<Call> {
    try {
      return new Call(connection, await tokenOf(connection));
    } catch (cause) {
      if (cause instanceof AntiphonError) throw cause;
      throw failed(`The token function failed: ${cause}`, cause);
    }
  }

  /** Names the server and the user: equal for all tokens of one user. A token that is no JWT names itself. */
  get user(): string {
    return JSON.stringify([this.url, subjectOf(this.#token) ?? this.#token]);
  }

  get token(): string | null {
    return this.#token;
  }

  async post(accept: string, query: string, variables: unknown, signal?: AbortSignal): Promise<Response> {
    let body: string;
    try {
      body = JSON.stringify({ query, variables });
    } catch (cause) {
      throw refuse('values', `${cause}`);
    }
    return this.request(this.url, { method: 'POST', headers: { 'Content-Type': 'application/json', Accept: accept }, body }, signal);
  }

  /** The URL of something else of the same server. */
  beside(path: string): string {
    // The endpoint can be `/graphql` of the page's host, or below another path.
    return `${this.url.replace(/[?#].*$/, '').replace(/\/[^/]+\/?$/, '')}/${path}`;
  }

  /** Sends a request with the user's token. */
  async request(
    url: string,
    { headers, ...init }: { method?: string; headers: Record<string, string>; body?: string },
    signal?: AbortSignal,
  ): Promise<Response> {
    // A method of `this` would give `fetch` a receiver that browsers refuse.
    const fetch = this.#fetch;
    const own: Record<string, string> = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    try {
      return await fetch(url, { ...init, headers: { ...headers, ...own }, ...(signal ? { signal } : {}) });
    } catch (cause) {
      const fails = (attempt: () => unknown) => {
        try {
          attempt();
        } catch {
          return true;
        }
      };
      throw failed(
        fails(() => new URL(this.url, globalThis.location?.href))
          ? `"${this.url}" is not a URL here: call \`connect({ url })\` first.`
          : fails(() => new Headers(own))
            ? 'The token cannot be sent in a header.'
            : `${url} cannot be reached.`,
        cause,
      );
    }
  }

  /** The whole text of a response. */
  async textOf(response: Response): Promise<string> {
    return response.text().catch((cause: unknown) => {
      const { status } = response;
      throw failed(`${endedEarly(this.url)}: HTTP status ${status}.`, cause, status);
    });
  }

  /** One of the package's own operations. `more` has the texts of those that are loaded later. */
  ask<Name extends keyof Operations>(name: Name, variables: Variables, more?: Texts, signal?: AbortSignal): Promise<Operations[Name][0]> {
    return this.run(textOf(name, more), variables, signal).catch((error) => inColumns(error)) as Promise<Operations[Name][0]>;
  }

  /** Runs an operation. A read is repeated if a proxy has no answer of the server. */
  async run(query: string, variables: unknown, signal?: AbortSignal): Promise<unknown> {
    for (let left = /\bmutation\b/.test(query) ? 0 : 2; ; left -= 1) {
      const response = await this.post('application/graphql-response+json, application/json', query, variables, signal);
      const { status } = response;
      try {
        return dataOf(await this.textOf(response), status, this.url);
      } catch (error) {
        const isProxy = (error as AntiphonError).code === 'NETWORK' && status > 501 && status < 505;
        if (!isProxy || left === 0 || signal?.aborted) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 600 / left));
    }
  }

  /** A part of a list, at most `count` rows. */
  async #part<Node, Row>(list: List<Node, Row>, count: number, cursor: string | null, rows: boolean): Promise<Part<Node>> {
    return fitting(list, count, (first) => list.ask(range(list, first, cursor, rows)));
  }

  /** The rows of a list after a cursor, at most `max`, and how many there are in all. */
  async rows<Node, Row>(list: List<Node, Row>, max = Infinity, cursor: string | null = null): Promise<{ rows: Row[]; total: number }> {
    const rows: Row[] = [];
    for (;;) {
      const part: Part<Node> = await this.#part(list, max - rows.length, cursor, true);
      const nodes = (part?.nodes ?? []).map((node) => list.row(node));
      rows.push(...(list.isReversed ? nodes.reverse() : nodes));
      cursor = next(list, part);
      if (cursor === null || rows.length >= max) return { rows, total: part?.totalCount ?? rows.length };
    }
  }

  /**
   * A page by its number. The API has cursors: what comes before the page is walked over without its rows, `size` of them a
   * request, so the far pages of a long list cost more than the near ones.
   */
  async page<Node, Row>({ page, limit }: Page, list: List<Node, Row>): Promise<Paginated<Row>> {
    let cursor: string | null = null;
    let isOver = false;
    for (let left = (page - 1) * limit; left > 0 && !isOver; left -= list.size) {
      const end: string | null = next(list, await this.#part(list, left, cursor, false));
      isOver = end === null;
      cursor = end ?? cursor;
    }
    // Past the end only the total is wanted.
    const { rows, total } = await this.rows(list, isOver ? 1 : limit, cursor);
    return paginated(isOver ? [] : rows, total, { page, limit });
  }
}

/** Asks for at most `most` rows: fewer if they are too large for one answer. */
export async function fitting<T>(list: { size: number }, most: number, ask: (count: number) => Promise<T>): Promise<T> {
  for (;;) {
    const count = Math.min(most, list.size);
    try {
      return await ask(count);
    } catch (error) {
      if (!(error instanceof AntiphonError && error.code === 'QUERY_TOO_COMPLEX') || count === 1) throw error;
      list.size = Math.ceil(count / 8);
    }
  }
}

/** The arguments that take the next rows of a list. */
function range<Node, Row>({ isReversed }: List<Node, Row>, count: number, cursor: string | null, rows: boolean): Variables {
  return isReversed ? { last: count, before: cursor, rows } : { first: count, after: cursor, rows };
}

/** Where a list goes on; null at its end. */
function next<Node, Row>({ isReversed }: List<Node, Row>, part: Part<Node>): string | null {
  const info = part?.pageInfo;
  if (!info) return null;
  return (isReversed ? info.hasPreviousPage && info.startCursor : info.hasNextPage && info.endCursor) || null;
}

/** A page of the first rows of a list, in an order of their own. */
export function pageOf<Row extends object>(rows: Row[], total: number, of: Page): Paginated<Row> {
  const { page, limit } = of;
  return paginated(sorted(rows, of).slice((page - 1) * limit, page * limit), total, of);
}

export function paginated<Row>(data: Row[], total: number, { page, limit }: { page: number; limit: number }): Paginated<Row> {
  const total_pages = Math.ceil(total / limit);
  return { data, pagination: { page, limit, total, total_pages, has_next: page < total_pages, has_prev: page > 1 } };
}

/** Sorts rows by one of their columns as PostgreSQL does: null is larger than everything else. */
function sorted<Row extends object>(rows: Row[], { column, order }: Page): Row[] {
  const value = (row: Row) => {
    const of = (row as Record<string, unknown>)[column];
    return of && typeof of === 'object' ? JSON.stringify(of) : of;
  };
  const compare = (a: any, b: any) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1);
  const ascending = [...rows].sort((a, b) => compare(value(a), value(b)));
  return order === 'asc' ? ascending : ascending.reverse();
}
