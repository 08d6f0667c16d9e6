// Listening that outlives its connections: each new one goes on after the position of the last item, with a token of its own.
import { AntiphonError, type Call, type Variables } from './connection.js';
import { documents, type Operations } from './documents.js';

export interface LiveOptions {
  /** Ends the listening. */
  signal?: AbortSignal | undefined;
  /** Is called for each connection that is lost, before the next attempt. */
  onInterruption?: ((error: AntiphonError) => void) | undefined;
}

export interface LiveRevisionOptions extends LiveOptions {
  /** Begins after this revision, with what is newer; without it, with what comes from now on. */
  afterRevision?: number | undefined;
}

export interface ListenerOptions {
  /** Receives what ends the listening; without it that goes to the console. */
  onError?: ((error: unknown) => void) | undefined;
}

/** What a subscription delivers, and how it goes on. */
export interface Topic<Data, Item> {
  name: keyof Operations;
  id: string;
  /** The position to begin at if none is known. */
  start?: (call: Call) => Promise<number>;
  /** An item, its position, and whether it is the last; null for what is known already. */
  read: (data: Data, position: number | undefined) => { item: Item; position?: number; isLast?: boolean } | null;
}

/** The longest wait between two attempts, in milliseconds. */
const LONGEST = 30_000;

/** Fresh tokens that are refused one after the other, before a subscription gives up. */
const MOST_REFUSALS = 5;

/** Whether another attempt may succeed. */
function mayPass({ code, status }: AntiphonError): boolean {
  if (code === 'NETWORK') return !status || status < 400 || status === 408 || status === 429 || status >= 500;
  return code === 'INTERNAL' || code === 'UNAVAILABLE' || code === 'RATE_LIMITED' || code === 'UNAUTHENTICATED';
}

function pause(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, time);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** Every item once and in order, until the signal, the last item or an error that another attempt would meet again. */
export async function* listen<Data, Item>(
  begin: () => Promise<Call>,
  topic: Topic<Data, Item>,
  after: number | undefined,
  { signal = new AbortController().signal, onInterruption }: LiveOptions,
): AsyncGenerator<Item, void, undefined> {
  let position = after;
  let failures = 0;
  let refused: AntiphonError | undefined;
  let refusals = 0;
  let token: string | null = null;
  while (!signal.aborted) {
    try {
      const call = await begin();
      // A token that was refused is not tried again.
      if (refused && call.token === token) throw refused;
      token = call.token;
      position ??= await topic.start?.(call);
      const variables: Variables = { id: topic.id, after: position };
      for await (const data of call.events(documents[topic.name], variables, signal)) {
        failures = refusals = 0;
        refused = undefined;
        const next = topic.read(data as Data, position);
        if (!next) continue;
        position = next.position;
        yield next.item;
        if (next.isLast) return;
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

/** Gives each item to a listener, one after the other. Returns what ends it. */
export function deliver<Item, Options extends LiveOptions & ListenerOptions>(
  listenTo: (options: Options) => AsyncIterable<Item>,
  listener: (item: Item) => unknown,
  options: Options,
): () => void {
  const stop = new AbortController();
  const end = () => stop.abort();
  options.signal?.addEventListener('abort', end, { once: true });
  if (options.signal?.aborted) end();
  const run = async () => {
    for await (const item of listenTo({ ...options, signal: stop.signal })) {
      if (stop.signal.aborted) return;
      await listener(item);
    }
  };
  void run()
    .catch((error: unknown) => (options.onError ?? console.error)(error))
    .finally(() => options.signal?.removeEventListener('abort', end));
  return end;
}
