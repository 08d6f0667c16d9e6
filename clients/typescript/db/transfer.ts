// Bytes in and out, and messages that are written piece by piece.
import { inputOf, messageId, mustBeWhole, mustFitPath, pathOf } from './arguments.js';
import { AntiphonError, refuse } from './connection.js';
import type { Api, FileRowFragment, MessageRowFragment, Operations } from './documents.js';
import type { Bytes, MessageStart, VirtualFile, WriteContext } from './types.js';

/** What a write belongs to: an empty text is none. */
const contextOf = ({ session_id, message_id, change_description }: WriteContext) => ({
  sessionId: session_id || null,
  messageId: messageId(message_id) ?? null,
  changeDescription: change_description || null,
});

/** Writes files as a whole. Folders are those of the paths, and a file without content stays as it is. */
export async function sync(api: Api, projectId: string, files: VirtualFile[], context: WriteContext): Promise<void> {
  if (!Array.isArray(files)) throw refuse('files', 'files is not a list.');
  for (const file of files) {
    // An IDE's files have more than is written.
    const { path, name, content, type } = Object(file) as VirtualFile;
    inputOf({ path, name, content, type }, 'path! name! content type!');
    if (type !== 'file' && type !== 'folder') throw refuse('type', `${path} is neither a file nor a folder.`);
    if ((content ?? '') !== `${content ?? ''}`) throw refuse('content', `The content of ${path} is not a text.`);
    if (type === 'file') mustFitPath(path, name);
  }
  const real = files.filter(({ type }) => type === 'file');
  const present = new Set<string>();
  for (let after: string | null = null, isMore = real.some(({ content }) => content == null); isMore; ) {
    const { nodes, pageInfo }: Awaited<ReturnType<Api['fileList']>> = await api.fileList({ projectId, first: 500, after });
    for (const { path } of nodes) present.add(path);
    isMore = pageInfo.hasNextPage;
    after = pageInfo.endCursor ?? null;
  }
  const written = real.filter(({ path, content }) => content != null || !present.has(pathOf(path)));
  await api.syncFiles({ projectId, files: written.map(({ path, content }) => ({ path, content: content ?? '' })), ...contextOf(context) });
}

export async function upload(
  api: Api,
  projectId: string,
  path: string,
  bytes: Bytes,
  context: WriteContext = {},
): Promise<FileRowFragment | null | undefined> {
  // `Response` would turn them into texts such as "[object Object]", and nothing into an empty file.
  const isPlain = Array.isArray(bytes) || Object.getPrototypeOf(Object(bytes)) === Object.prototype;
  if (bytes == null || isPlain || !['string', 'object'].includes(typeof bytes)) {
    throw refuse('bytes', 'bytes is neither a text nor binary data.');
  }
  const data = new Uint8Array(await new Response(bytes).arrayBuffer());
  let binary = '';
  for (let at = 0; at < data.length; at += 32_768) binary += String.fromCharCode(...data.subarray(at, at + 32_768));
  await api.syncFiles({
    projectId,
    files: [{ path, contentBase64: btoa(binary) }],
    ...contextOf(context),
  });
  return api.file({ projectId, path });
}

export async function download(api: Api, projectId: string, path: string, at?: number): Promise<Uint8Array<ArrayBuffer> | null> {
  if (at !== undefined) mustBeWhole('at', at, 0);
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

type StartMessageInput = Operations['startMessage'][1]['input'];

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
  values: MessageStart,
  text: AsyncIterable<string> | Iterable<string>,
  onStart: (messageId: string) => void = () => {},
): Promise<MessageRowFragment> {
  const { isCheckpoint, ...start } = inputOf(values, 'session_id! role! is_checkpoint context_data metadata');
  const idempotencyKey = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const { messageId, length } = await insist(() => api.startMessage({ ...(start as StartMessageInput), idempotencyKey }));
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
    return (await insist(() => api.finishMessage({ messageId, length: offset, isCheckpoint: isCheckpoint === true }))).message;
  } catch (error) {
    const discard = () => api.discardMessage({ messageId });
    // A server that was away for so long is not waited for again.
    await (mayPass(error) ? discard() : insist(discard)).catch(() => {});
    throw error;
  }
}
