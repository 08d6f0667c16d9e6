// Subscriptions that outlive their connections: each new one continues after the position of the last item, with a new token.
import { mustBeWhole } from './arguments.js';
import type { Access } from './client.js';
import { AntiphonError, type Call, dataOf, endedEarly, failed, forOneUser, refuse, unless, type Variables } from './connection.js';
import { texts } from './live-texts.js';
import { pause } from './send.js';
import { parser } from './sse.js';
import { textOf } from './texts.js';
import { type Topic, type TopicName, topics } from './topics.js';

export interface LiveOptions {
  /** Ends the subscription. */
  signal?: AbortSignal | undefined;
  /** Is called for each lost connection, before the next attempt. */
  onInterruption?: ((error: AntiphonError) => void) | undefined;
}

export interface LiveRevisionOptions extends LiveOptions {
  /** Delivers items after this revision; by default those after the present one. */
  afterRevision?: number | undefined;
}

export interface LiveTextOptions extends LiveOptions {
  /** The length of the known text in bytes of UTF-8: the last `next_offset`. */
  afterOffset?: number | undefined;
}

export interface ListenerOptions {
  /** Receives the error that ends the subscription; by default it goes to the console. */
  onError?: ((error: unknown) => void) | undefined;
}

/** Time without bytes after which a connection counts as lost, in milliseconds. The server sends some every 20 seconds. */
const SILENCE = 65_000;

/** The longest wait between two attempts, in milliseconds. */
const LONGEST = 30_000;

/** Fresh tokens that are refused one after the other, before a subscription gives up. */
const MOST_REFUSALS = 5;

/** Whether another attempt may succeed. */
function mayPass({ code, status }: AntiphonError): boolean {
  if (code === 'NETWORK') return !status || status < 400 || status === 408 || status >= 500;
  return code === 'INTERNAL' || code === 'UNAVAILABLE' || code === 'RATE_LIMITED' || code === 'UNAUTHENTICATED';
}

/** One request: its signal aborts with `signal`, and if the server is silent for too long. */
function attemptOf(signal: AbortSignal) {
  const attempt = new AbortController();
  const stop = () => attempt.abort();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  const giveUp = () => attempt.abort(failed('The server has been silent for too long.'));
  let timer = setTimeout(giveUp, SILENCE);
  return {
    signal: attempt.signal,
    /** Starts the time again. */
    wait: () => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, SILENCE);
    },
    /** Stops the time. */
    rest: () => clearTimeout(timer),
    /** Ends it, and closes its connection. */
    end: () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      stop();
    },
  };
}

/** The answer to a request. */
async function answerTo<T>(ask: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  const attempt = attemptOf(signal);
  try {
    return await unless(attempt.signal, ask(attempt.signal));
  } finally {
    attempt.end();
  }
}

/**
 * The results of a subscription, by server-sent events. Returns once the server has completed it; a connection that ends
 * before that throws `NETWORK`.
 */
async function* events(call: Call, query: string, variables: Variables, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
  const attempt = attemptOf(signal);
  const connecting = call.post('text/event-stream', query, variables, attempt.signal);
  // A response that comes too late, from a `fetch` that ignores its signal, is closed as well.
  const close = () => connecting.then(({ body }) => body?.cancel()).catch(() => {});
  try {
    const { status, body, headers } = await unless(attempt.signal, connecting);
    if (!headers.get('Content-Type')?.startsWith('text/event-stream')) {
      dataOf(await unless(attempt.signal, call.textOf(await connecting)), status, call.url);
      throw failed(`${call.url} does not answer with an event stream: HTTP status ${status}.`, undefined, status);
    }
    // Another attempt has the same `fetch`.
    if (!body?.getReader) throw refuse('fetch', 'Subscriptions need a `fetch` whose responses are streams.');
    const reader = body.getReader();
    const parse = parser();
    for (;;) {
      attempt.wait();
      const { done, value } = await unless(attempt.signal, reader.read()).catch((cause: unknown) => {
        throw attempt.signal.aborted ? cause : failed(`${endedEarly(call.url)}.`, cause, status);
      });
      attempt.rest();
      if (done) throw failed(`${endedEarly(call.url)}.`, undefined, status);
      for (const { type, data } of parse(value)) {
        if (type === 'complete') return;
        if (type === 'next') yield dataOf(data, status, call.url);
      }
    }
  } finally {
    attempt.end();
    close();
  }
}

/**
 * Every item once and in order, until `stop`, the last item or an error that another attempt would meet again. It belongs to the
 * user of its first connection: it ends as soon as a call or `connect` has another user.
 */
export async function* listen(
  access: Access,
  name: TopicName,
  id: string,
  options: LiveRevisionOptions & LiveTextOptions,
  stop: AbortController,
): AsyncGenerator<unknown, void, undefined> {
  const own = forOneUser();
  const meet = async (call?: Call) => {
    // Without a token there is no user to compare with.
    const present = call ?? (await access.begin().catch(() => undefined));
    try {
      if (present) own(present);
    } catch (error) {
      stop.abort(error);
    }
  };
  const leave = access.onCaller(meet);
  try {
    yield* items(async () => own(await access.begin()), name, id, options, stop.signal);
  } catch (error) {
    // The same name for all requests of a subscription.
    const { extensions } = Object(error) as AntiphonError;
    if (/^(project|session|message)Id$/.test(`${extensions?.field}`)) extensions.field = 'id';
    throw error;
  } finally {
    leave();
  }
  if (stop.signal.reason instanceof AntiphonError) throw stop.signal.reason;
}

async function* items(
  begin: () => Promise<Call>,
  name: TopicName,
  id: string,
  { onInterruption, afterRevision, afterOffset }: LiveRevisionOptions & LiveTextOptions,
  signal: AbortSignal,
): AsyncGenerator<unknown, void, undefined> {
  const topic = topics[name] as Topic<unknown, unknown>;
  const query = textOf(name, texts);
  let position = afterRevision ?? afterOffset;
  if (position !== undefined) mustBeWhole(topic.start ? 'afterRevision' : 'afterOffset', position, 0);
  let failures = 0;
  let refused: AntiphonError | undefined;
  let refusals = 0;
  let token: string | null = null;
  while (!signal.aborted) {
    try {
      const call = await unless(signal, begin());
      // A token that was refused is not tried again.
      if (refused && call.token === token) throw refused;
      token = call.token;
      const { start } = topic;
      if (start) position ??= await answerTo((attempt) => start(call, id, attempt), signal);
      for await (const data of events(call, query, { id, after: position }, signal)) {
        failures = refusals = 0;
        refused = undefined;
        const next = topic.read(data, id);
        // A revision that is known already.
        if (start && next.position! <= position!) continue;
        position = next.position;
        yield next.item;
        // Items that arrived together are not for another user.
        if (next.isLast || signal.aborted) return;
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof AntiphonError) || error === refused || !mayPass(error)) throw error;
      refused = error.code === 'UNAUTHENTICATED' ? error : undefined;
      if (refused && ++refusals > MOST_REFUSALS) throw error;
      onInterruption?.(error);
      const asked = Number(error.extensions.retryAfterSeconds) || 0;
      const wait = Math.min(LONGEST, 50 * 2 ** failures) * (0.5 + Math.random() / 2);
      failures += 1;
      // A fresh token is tried at once, but not again and again.
      await pause(Math.max(asked * 1_000, refusals === 1 ? 0 : wait), signal);
    }
  }
}
