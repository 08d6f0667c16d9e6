// What the package does in any runtime: calls, listening, bytes, a message piece by piece. Answers with what it saw.
import { AntiphonError, DatabaseService } from 'antiphon-db';

export async function smoke(url, token) {
  const db = new DatabaseService({ url, token: async () => token });
  const { id } = await db.createProject({ name: 'Smoke', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const heard = [];
  const listening = (async () => {
    for await (const { kind } of db.onProjectEvent(id, { afterRevision: 0 })) if (heard.push(kind) === 4) break;
  })();
  await db.uploadFile(id, 'a.bin', Uint8Array.of(0, 255, 254));
  const { content } = await db.writeMessage({ session_id: session.id, role: 'assistant' }, ['Hello', ' there']);
  await listening;
  const missing = await db.api.undo({ projectId: crypto.randomUUID() }).catch((error) => error instanceof AntiphonError && error.code);
  return JSON.stringify([heard, content, [...(await db.downloadFile(id, 'a.bin'))], missing]);
}

export const expected = JSON.stringify([
  ['project_created', 'session_started', 'files_changed', 'message_added'],
  'Hello there',
  [0, 255, 254],
  'NOT_FOUND',
]);
