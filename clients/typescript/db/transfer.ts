// Bytes in and out, and whole syncs.
import { inputOf, messageId, mustBeWhole } from './arguments.js';
import { AntiphonError, type Call, refuse, type Variables } from './connection.js';
import { file as rowOf, found } from './rows.js';
import { pathOf, type Result, send } from './send.js';
import type { Bytes, FileBytes, ProjectFile, VirtualFile, WriteContext } from './types.js';

type Begin = () => Promise<Call>;

/** What a write belongs to: an empty text is none. */
function contextOf(context: WriteContext): Variables {
  const { sessionId, messageId: ofMessage, changeDescription } = inputOf(context, 'session_id message_id change_description', true);
  return {
    sessionId: sessionId ?? null,
    messageId: messageId(ofMessage as string | null) ?? null,
    changeDescription: changeDescription ?? null,
  };
}

/** Runs a part of a call, and changes the field that its error names. */
async function naming<T>(rename: (field: string) => string, part: () => T | Promise<T>): Promise<T> {
  try {
    return await part();
  } catch (error) {
    const { extensions } = Object(error) as AntiphonError;
    if (typeof extensions?.field === 'string') extensions.field = rename(extensions.field);
    throw error;
  }
}

/** Refuses what is no file of a sync. */
function check(file: VirtualFile): void {
  // An IDE's files have more than is written.
  const { path, name, content, type } = Object(file) as VirtualFile;
  inputOf({ path, name, content, type }, 'path! name! content type!');
  if (type !== 'file' && type !== 'folder') throw refuse('type', `${path} is neither a file nor a folder.`);
  if ((content ?? '') !== `${content ?? ''}`) throw refuse('content', `The content of ${path} is not a text.`);
  const last = pathOf(path).split('/').pop();
  if (type === 'file' && last && name !== last) throw refuse('name', `The name of ${path} is the last part of its path: ${last}.`);
}

/** Writes files as a whole. Folders are those of the paths, and a file without content stays as it is. */
export async function sync(begin: Begin, projectId: string, files: VirtualFile[], context: WriteContext): Promise<void> {
  if (!Array.isArray(files)) throw refuse('files', 'files is not a list.');
  for (const [at, file] of files.entries()) await naming((field) => `files[${at}].${field}`, () => check(file));
  const real = files.map((file, at) => ({ ...file, at })).filter(({ type }) => type === 'file');
  const present = new Set<string>();
  for (let after: string | null = null, isMore = real.some(({ content }) => content == null); isMore; ) {
    const { nodes, pageInfo }: Result<'fileList'> = await send(await begin(), 'fileList', { projectId, first: 500, after });
    for (const { path } of nodes) present.add(path);
    isMore = pageInfo.hasNextPage;
    after = pageInfo.endCursor ?? null;
  }
  const written = real.filter(({ path, content }) => content != null || !present.has(pathOf(path)));
  const values = { projectId, files: written.map(({ path, content }) => ({ path, content: content ?? '' })), ...contextOf(context) };
  // The server counts the files that it was sent.
  const rename = (field: string) => field.replace(/^files\[(\d+)\]/, (_, at) => `files[${written[at]!.at}]`);
  const call = await begin();
  await naming(rename, () => send(call, 'syncFiles', values));
}

export async function upload(
  begin: Begin,
  projectId: string,
  path: string,
  bytes: Bytes,
  context: WriteContext = {},
): Promise<ProjectFile> {
  // `Response` would turn them into texts such as "[object Object]", and nothing into an empty file.
  const isPlain = Array.isArray(bytes) || Object.getPrototypeOf(Object(bytes)) === Object.prototype;
  if (bytes == null || isPlain || !['string', 'object'].includes(typeof bytes)) {
    throw refuse('bytes', 'bytes is neither a text nor binary data.');
  }
  const of = contextOf(context);
  const data = new Uint8Array(await new Response(bytes).arrayBuffer());
  let binary = '';
  for (let at = 0; at < data.length; at += 32_768) binary += String.fromCharCode(...data.subarray(at, at + 32_768));
  const values = { projectId, files: [{ path, contentBase64: btoa(binary) }], ...of };
  const call = await begin();
  await naming((field) => field.replace('files[0].', ''), () => send(call, 'syncFiles', values));
  return rowOf(found(await send(await begin(), 'file', { projectId, path }), 'file'));
}

export async function download(begin: Begin, projectId: string, path: string, at?: number): Promise<FileBytes | null> {
  if (at !== undefined) mustBeWhole('at', at, 0);
  const file = await send(await begin(), 'file', { projectId, path, at: at ?? null, bytes: true });
  if (file?.type !== 'FILE') return null;
  if (file.contentBase64 == null) return new TextEncoder().encode(file.content ?? '');
  return Uint8Array.from(atob(file.contentBase64), (letter) => letter.charCodeAt(0));
}
