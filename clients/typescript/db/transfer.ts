// Bytes in and out, and messages that are written piece by piece.
import { messageId, upper } from './arguments.js';
import { AntiphonError } from './connection.js';
import type { Api, FileRowFragment, MessageRowFragment } from './documents.js';
import type { Bytes, MessageStart, WriteContext } from './types.js';

export async function upload(
  api: Api,
  projectId: string,
  path: string,
  bytes: Bytes,
  { session_id, message_id, change_description }: WriteContext = {},
): Promise<FileRowFragment | null | undefined> {
  const data = new Uint8Array(await new Response(bytes).arrayBuffer());
  let binary = '';
  for (let at = 0; at < data.length; at += 32_768) binary += String.fromCharCode(...data.subarray(at, at + 32_768));
  await api.syncFiles({
    projectId,
    files: [{ path, contentBase64: btoa(binary) }],
    sessionId: session_id || null,
    messageId: messageId(message_id) ?? null,
    changeDescription: change_description || null,
  });
  return api.file({ projectId, path });
}

export async function download(api: Api, projectId: string, path: string, at?: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const file = await api.file({ projectId, path, at: at ?? null, bytes: true });
  if (file?.type !== 'FILE') return null;
  if (file.contentBase64 == null) return new TextEncoder().encode(file.content ?? '');
  return Uint8Array.from(atob(file.contentBase64), (letter) => letter.charCodeAt(0));
}

/** How long a message waits for a server that is away, and its longest wait between two attempts, in milliseconds. */
const PATIENCE = 60_000;
const LONGEST = 5_000;

/** Tokens that are refused for one request, before a message is given up. */
const MOST_REFUSALS = 3;

/** Sends again what has no answer: the server recognizes what it has received. */
async function insist<T>(send: () => Promise<T>): Promise<T> {
  const end = Date.now() + PATIENCE;
  let refusals = 0;
  for (let wait = 100; ; wait = Math.min(2 * wait, LONGEST)) {
    try {
      return await send();
    } catch (error) {
      // A token may have expired on its way: each attempt asks for another.
      const isRefused = error instanceof AntiphonError && error.code === 'UNAUTHENTICATED' && (refusals += 1) < MOST_REFUSALS;
      if (!isRefused && !mayPass(error)) throw error;
      const asked = 1_000 * (Number((error as AntiphonError).extensions.retryAfterSeconds) || 0);
      if (Date.now() + Math.max(wait, asked) > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.max(wait, asked)));
    }
  }
}

function mayPass(error: unknown): error is AntiphonError {
  if (!(error instanceof AntiphonError)) return false;
  const { code, status = 500 } = error;
  if (code === 'NETWORK') return status >= 500 || status < 400 || status === 408 || status === 429;
  return code === 'UNAVAILABLE' || code === 'RATE_LIMITED';
}

export async function write(
  api: Api,
  { session_id, role, is_checkpoint: isCheckpoint = false, context_data, metadata }: MessageStart,
  text: AsyncIterable<string> | Iterable<string>,
  onStart: (messageId: string) => void = () => {},
): Promise<MessageRowFragment> {
  const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const data = { contextData: context_data ?? null, metadata: metadata ?? null };
  const { messageId, length } = await insist(() => api.startMessage({ sessionId: session_id, role: upper(role), ...data, idempotencyKey }));
  let offset = length;
  const append = async (part: string) => {
    offset = (await insist(() => api.appendToMessage({ messageId, offset, text: part }))).length;
  };
  try {
    onStart(messageId);
    let rest = '';
    for await (const piece of text) {
      rest += piece;
      // Half of a surrogate pair waits for its other half. A part is within the server's default limit, 64 KiB.
      for (const part of rest.match(/[^]{1,16000}(?<![\ud800-\udbff])/g) ?? []) {
        await append(part);
        rest = rest.slice(part.length);
      }
    }
    if (rest) await append(rest);
    return (await insist(() => api.finishMessage({ messageId, length: offset, isCheckpoint }))).message;
  } catch (error) {
    const discard = () => api.discardMessage({ messageId });
    // A server that was away for so long is not waited for again.
    await (mayPass(error) ? discard() : insist(discard)).catch(() => {});
    throw error;
  }
}
