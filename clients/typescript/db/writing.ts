// Messages that are written while their text comes.
import { inputOf } from './arguments.js';
import { AntiphonError, type Call, refuse, unless, type Variables } from './connection.js';
import type { Api } from './documents.js';
import { message as rowOf } from './rows.js';
import { pause, type Result, send } from './send.js';
import type { ChatMessage, MessageStart, TextSource, WriteOptions } from './types.js';

/** How long a message waits for a server that is away, and its longest wait between two attempts, in milliseconds. */
const PATIENCE = 60_000;
const LONGEST = 5_000;

/** Tokens that are refused for one request, before a message is given up. */
const MOST_REFUSALS = 3;

/** How many characters are read ahead of the server, at least. */
const AHEAD = 64_000;

/** Sends again what has no answer: the server recognizes what it has received. */
async function insist<T>(attempt: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const end = Date.now() + PATIENCE;
  let refusals = 0;
  for (let wait = 100; ; wait = Math.min(2 * wait, LONGEST)) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      // A token may have expired on its way: each attempt asks for another.
      const isRefused = error instanceof AntiphonError && error.code === 'UNAUTHENTICATED' && (refusals += 1) < MOST_REFUSALS;
      if (!isRefused && !mayPass(error)) throw error;
      const asked = 1_000 * (Number((error as AntiphonError).extensions.retryAfterSeconds) || 0);
      if (Date.now() + Math.max(wait, asked) > end) throw error;
      await pause(Math.max(wait, asked), signal);
    }
  }
}

/** Cleans up after an error. A server that was away for so long is not waited for again. */
const again = <T>(error: unknown, attempt: () => Promise<T>): Promise<T> => (mayPass(error) ? attempt() : insist(attempt));

function mayPass(error: unknown): error is AntiphonError {
  if (!(error instanceof AntiphonError)) return false;
  const { code, status = 500 } = error;
  if (code === 'NETWORK') return status >= 500 || status < 400 || status === 408;
  return code === 'UNAVAILABLE' || code === 'RATE_LIMITED';
}

interface Piece {
  done?: boolean | undefined;
  value?: unknown;
}

/** Where a text comes from. */
interface Source {
  next(): Piece | Promise<Piece>;
  cancel(): Promise<unknown>;
}

function sourceOf(text: TextSource): Source {
  const of = Object(text);
  // A reader cancels a stream also while it waits; an iterator only after that.
  if (typeof of.getReader === 'function') {
    if (of.locked) throw refuse('text', 'The stream has another reader.');
    const reader = of.getReader();
    return { next: () => reader.read(), cancel: async () => reader.cancel() };
  }
  const iterator = (of[Symbol.asyncIterator] ?? of[Symbol.iterator])?.call(of);
  if (!iterator) throw refuse('text', 'The text is neither a text nor a source of its pieces.');
  return { next: () => iterator.next(), cancel: async () => iterator.return?.() };
}

/** Appends a text while it comes. What comes during a request is the next one's, so a slow connection does not hold the text up. */
async function pump(source: Source, append: (part: string) => Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  let rest = '';
  let isOver = false;
  let failure: { cause: unknown } | undefined;
  let wake = () => {};
  // Only one of the two waits: the one for room, the other for text.
  const woken = () => new Promise<void>((resolve) => (wake = resolve));
  const end = () => {
    isOver = true;
    rest = '';
    wake();
  };
  const read = async () => {
    while (!isOver) {
      if (rest.length >= AHEAD) {
        await woken();
        continue;
      }
      const { done, value } = await source.next();
      const piece = await value;
      if (done) isOver = true;
      else if (typeof piece !== 'string') throw refuse('text', 'A piece of the text is not a text.');
      else rest += piece;
      wake();
    }
  };
  const write = async () => {
    for (;;) {
      // Half of a surrogate pair waits for its other half. A part is within the server's default limit, 64 KiB.
      const part = /^[^]{1,16000}(?<![\ud800-\udbff])/.exec(rest)?.[0] ?? (isOver ? rest : '');
      if (part) {
        rest = rest.slice(part.length);
        await append(part);
        wake();
      } else if (isOver) return;
      else await woken();
    }
  };
  read().catch((cause: unknown) => {
    failure = { cause };
    end();
  });
  await unless(signal, write()).finally(end);
  if (failure) throw failure.cause;
}

/** The requests of one message. */
class Writing {
  /** The last call with an answer: its token is of the message's user. */
  #last: Call | undefined;

  constructor(readonly begin: () => Promise<Call>) {}

  send<Name extends keyof Api>(name: Name, values: Variables, signal: AbortSignal | undefined): Promise<Result<Name>> {
    return insist(async () => {
      const call = await this.begin();
      return send(call, name, values, signal).then((result) => {
        this.#last = call;
        return result;
      });
    }, signal);
  }

  /** Starts the message. If that fails, what a request without an answer may have started is discarded. */
  async start(values: Variables): Promise<Result<'startMessage'>> {
    let unanswered: Call | undefined;
    const attempt = async () => {
      const call = (this.#last = await this.begin());
      return send(call, 'startMessage', values).catch((error) => {
        if (error instanceof AntiphonError && error.code === 'NETWORK') unanswered = call;
        throw error;
      });
    };
    return insist(attempt).catch(async (error) => {
      if (!unanswered) throw error;
      const last = (this.#last = unanswered);
      // The server recognizes the key of a message that it has started.
      const started = await again(error, () => send(last, 'startMessage', values)).catch(() => undefined);
      throw started ? await this.discard(started.messageId, error) : error;
    });
  }

  /** Discards the message after an error, also if another user has signed in since. Returns the error to throw. */
  async discard(messageId: string, error: unknown): Promise<unknown> {
    const discard = async () => {
      try {
        await send(this.#last!, 'discardMessage', { messageId });
      } catch (problem) {
        if (!(problem instanceof AntiphonError && problem.code === 'UNAUTHENTICATED')) throw problem;
        await send(await this.begin(), 'discardMessage', { messageId });
      }
    };
    try {
      await again(error, discard);
    } catch (cause) {
      const problem = cause as AntiphonError;
      // It is discarded or finished already.
      if (problem.code === 'NOT_FOUND' || problem.code === 'CONFLICT') return error;
      const { code, status } = error instanceof AntiphonError ? error : problem;
      const text = `${Object(error).message ?? error} Message ${messageId} is still streaming, because it cannot be discarded: ${problem.message}`;
      return new AntiphonError(text, { code, messageId }, { status, cause: error });
    }
    return error;
  }
}

export async function write(
  begin: () => Promise<Call>,
  values: MessageStart,
  text: TextSource,
  first?: ((messageId: string) => void) | WriteOptions,
  second?: WriteOptions,
): Promise<ChatMessage> {
  const isListener = typeof first === 'function';
  const { signal } = (isListener ? second : (second ?? first)) ?? {};
  const source = sourceOf(text);
  const writing = new Writing(begin);
  let starting: Promise<Result<'startMessage'>> | undefined;
  try {
    signal?.throwIfAborted();
    const { isCheckpoint, ...start } = inputOf(values, 'session_id! role! is_checkpoint context_data metadata');
    const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join('-');
    // The signal does not end this: without an answer, the message to discard is unknown.
    starting = writing.start({ ...start, idempotencyKey });
    const { messageId, length } = await unless(signal, starting);
    if (isListener) first(messageId);
    let offset = length;
    await pump(source, async (part) => {
      offset = (await writing.send('appendToMessage', { messageId, offset, text: part }, signal)).length;
    }, signal);
    const input = { messageId, length: offset, isCheckpoint: isCheckpoint === true };
    return rowOf((await unless(signal, writing.send('finishMessage', input, signal))).message);
  } catch (error) {
    // Not awaited: a source that waits for its next piece may never end.
    void source.cancel().catch(() => {});
    const reason = signal?.aborted ? signal.reason : error;
    const end = async () => {
      const started = await starting?.catch(() => undefined);
      return started ? writing.discard(started.messageId, reason) : reason;
    };
    // A caller that wants to stop does not wait for long.
    throw signal?.aborted ? await unless(AbortSignal.timeout(LONGEST), end()).catch(() => reason) : await end();
  }
}
