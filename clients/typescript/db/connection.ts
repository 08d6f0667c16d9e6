// One call's way to the server: where it is and who asks are settled once, so that a call of several requests speaks for one user.
import type { Page } from './arguments.js';
import type { Operations, PageEndFragment } from './documents.js';
import { textOf, type Texts } from './texts.js';
import type { Paginated } from './types.js';

/** Where the server is, and who asks. */
export interface Connection {
  /** The GraphQL endpoint; `/graphql` of the page's own host by default. */
  url: string;
  /** The user's access token (Supabase: `session.access_token`), asked for anew for each call. */
  token: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** What to fetch with; the global `fetch` by default. */
  fetch: typeof fetch;
}

/** Why a call failed. */
export class AntiphonError extends Error {
  /** One of the API's codes, such as `NOT_FOUND`, `BAD_USER_INPUT` or `CONFLICT`; `NETWORK` if no answer of the API came. */
  readonly code: string;
  /** All that the server says besides: `field`, `currentVersion` and so on. */
  readonly extensions: Record<string, unknown>;
  /** The HTTP status; absent if there was no response. */
  readonly status: number | undefined;
  /** Every error of the answer, as the server gave it; empty if no answer of the API came. */
  readonly errors: readonly Problem[];
  /** What the answer has beside its errors: the parts that did not fail. */
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
  const isTheirs = typeof extensions?.code !== 'string';
  const what = cause && /^\s*\{/.test(text) ? endedEarly(url) : `${url} does not answer as an Antiphon server`;
  throw new AntiphonError(
    isTheirs ? `${what}: HTTP status ${status}${message ? `, ${message}` : ''}.` : message!,
    // A gateway that refuses a token gets the next one, as the server does.
    { ...extensions, ...(status === 401 ? { code: 'UNAUTHENTICATED' } : isTheirs ? { code: 'NETWORK' } : {}) },
    { status, cause, errors: message ? errors! : [], data },
  );
}

export const endedEarly = (url: string) => `The answer of ${url} ended early`;

/** The failure of a request that has no whole answer. */
export const failed = (message: string, cause?: unknown, status?: number) =>
  new AntiphonError(message, { code: 'NETWORK' }, { status, cause });

/** An argument that cannot be honoured. */
export function refuse(field: string, message: string): AntiphonError {
  return new AntiphonError(message, { code: 'BAD_USER_INPUT', field });
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

/** Names the server and the user of a token. A token that is no JWT names itself. */
export const userOf = (url: string, token: string | null) => JSON.stringify([url, subjectOf(token) ?? token]);

/** Begins the requests of one call or subscription, and fails once the token is that of another user. */
export function forOneUser(begin: () => Promise<Call>): () => Promise<Call> {
  let user: string | undefined;
  return async () => {
    const call = await begin();
    const subject = subjectOf(call.token);
    if (subject && subject !== (user ??= subject)) throw new AntiphonError('Another user has signed in.', { code: 'FORBIDDEN' });
    return call;
  };
}

/** The requests of one call. */
export class Call {
  readonly url: string;
  readonly #token: string | null;
  readonly #fetch: typeof fetch;

  private constructor(url: string, token: string | null, fetch: Connection['fetch']) {
    this.url = url;
    this.#token = token;
    this.#fetch = fetch;
  }

  static async begin({ url, token, fetch }: Connection): Promise<Call> {
    try {
      const bearer = typeof token === 'function' ? await token() : token;
      return new Call(url, bearer || null, fetch);
    } catch (cause) {
      if (cause instanceof AntiphonError) throw cause;
      throw failed(`The token function failed: ${cause}`, cause);
    }
  }

  /** Where the requests go and for whom: equal for calls of one user. */
  get caller(): string {
    return JSON.stringify([this.url, this.#token]);
  }

  /** Names the server and the user: equal for all tokens of one user. */
  get user(): string {
    return userOf(this.url, this.#token);
  }

  get isSignedIn(): boolean {
    return this.#token !== null;
  }

  get token(): string | null {
    return this.#token;
  }

  async post(accept: string, query: string, variables: unknown, signal?: AbortSignal): Promise<Response> {
    // A method of `this` would give `fetch` a receiver that browsers refuse.
    const fetch = this.#fetch;
    const own: Record<string, string> = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    let body: string;
    try {
      body = JSON.stringify({ query, variables });
    } catch (cause) {
      throw refuse('values', `${cause}`);
    }
    try {
      return await fetch(this.url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: accept, ...own },
        body,
        ...(signal ? { signal } : {}),
      });
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
            ? 'The token has characters that a header cannot have.'
            : `${this.url} cannot be reached.`,
        cause,
      );
    }
  }

  /** One of the package's own operations. `more` has the texts of those that are loaded later. */
  ask<Name extends keyof Operations>(name: Name, variables: Variables, more?: Texts, signal?: AbortSignal): Promise<Operations[Name][0]> {
    return this.run(textOf(name, more), variables, signal) as Promise<Operations[Name][0]>;
  }

  /** Runs an operation. A read is repeated if a proxy has no answer of the server. */
  async run(query: string, variables: unknown, signal?: AbortSignal): Promise<unknown> {
    for (let left = /\bmutation\b/.test(query) ? 0 : 2; ; left -= 1) {
      const stop = (error: unknown): never => {
        throw signal?.aborted ? signal.reason : error;
      };
      const response = await this.post('application/graphql-response+json, application/json', query, variables, signal).catch(stop);
      const { status } = response;
      const text = await response.text().catch((cause: unknown) => stop(failed(`${endedEarly(this.url)}: HTTP status ${status}.`, cause, status)));
      try {
        return dataOf(text, status, this.url);
      } catch (error) {
        const isProxy = (error as AntiphonError).code === 'NETWORK' && [502, 503, 504].includes(status);
        if (!isProxy || left === 0 || signal?.aborted) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 600 / left));
    }
  }

  /** A part of a list, at most `count` rows. Contents that are too large for one answer come in smaller parts. */
  async #part<Node, Row>(list: List<Node, Row>, count: number, cursor: string | null, rows: boolean): Promise<Part<Node>> {
    for (;;) {
      const first = Math.min(count, list.size);
      try {
        return await list.ask(range(list, first, cursor, rows));
      } catch (error) {
        if (!(error instanceof AntiphonError && error.code === 'QUERY_TOO_COMPLEX') || first === 1) throw error;
        list.size = Math.ceil(first / 8);
      }
    }
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
  const value = (row: Row) => (row as Record<string, unknown>)[column];
  const compare = (a: unknown, b: unknown): number => {
    if (a === b) return 0;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (typeof a === 'object') return compare(JSON.stringify(a), JSON.stringify(b));
    return (a as string) < (b as string) ? -1 : 1;
  };
  const ascending = [...rows].sort((a, b) => compare(value(a), value(b)));
  return order === 'asc' ? ascending : ascending.reverse();
}
