// Bytes in and out, and messages that are written piece by piece.
import { messageId } from './arguments.js';
import type { Api, FileRowFragment, MessageRowFragment } from './documents.js';
import type { Bytes, MessageStart, WriteContext } from './types.js';

/** A name in upper case, as the API has those of enums. */
const upper = <T extends string>(name: T) => name.toUpperCase() as Uppercase<T>;

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

export async function write(
  api: Api,
  { session_id, role, is_checkpoint: isCheckpoint = false, context_data, metadata }: MessageStart,
  text: AsyncIterable<string> | Iterable<string>,
  onStart: (messageId: string) => void = () => {},
): Promise<MessageRowFragment> {
  const start = { sessionId: session_id, role: upper(role), contextData: context_data ?? null, metadata: metadata ?? null };
  const { messageId, length } = await api.startMessage(start);
  let offset = length;
  const append = async (part: string) => {
    offset = (await api.appendToMessage({ messageId, offset, text: part })).length;
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
    return (await api.finishMessage({ messageId, isCheckpoint })).message;
  } catch (error) {
    await api.discardMessage({ messageId }).catch(() => {});
    throw error;
  }
}
