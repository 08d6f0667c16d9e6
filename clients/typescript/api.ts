// Never run: the compiler reads it. What must not compile is marked, and the compiler fails where it does.
import { AntiphonError, DatabaseService, db } from 'antiphon-db';
import { documents } from 'antiphon-db/documents';

export async function typed(projectId: string, sessionId: string): Promise<void> {
  const { agentConfiguration, revision } = await db.api.saveAgentConfiguration({
    projectId, configName: 'Main', sttProvider: 'deepgram', sttModel: 'nova-2', ttsProvider: 'elevenlabs', ttsModel: 'turbo',
    llmProvider: 'openai', llmModel: 'gpt-4o', agentInstructions: 'Be brief.',
  });
  const next: number = revision + agentConfiguration.version;
  // @ts-expect-error: a name must be given.
  await db.api.saveAgentConfiguration({ projectId });
  // @ts-expect-error: there is no such call.
  await db.api.saveEverything({ projectId });
  await db.api.inviteByEmail({ projectId, email: 'grace@example.com', role: 'EDITOR' });
  // @ts-expect-error: there is no such role.
  await db.api.inviteByEmail({ projectId, email: 'grace@example.com', role: 'ROBOT' });
  const preview = await db.api.restorePreview({ projectId, to: { revision: next } });
  const paths: string[] = (preview?.diff ?? []).map(({ path }) => path);
  const bytes: Uint8Array | null = await db.downloadFile(projectId, 'a.png');
  await db.uploadFile(projectId, 'a.png', bytes ? new Blob([bytes.slice()]) : 'none', { session_id: sessionId });
  const image = await db.downloadFile(projectId, 'a.png', 3);
  if (image) await db.uploadFile(projectId, 'b.png', new Blob([image]));
  const whole: Blob = await db.downloadProject(projectId);
  await db.downloadProject(projectId, { onProgress: ({ rows, totalRows }) => console.log(rows / (totalRows ?? 1), whole.size), signal: AbortSignal.timeout(1_000) });
  await db.writeMessage({ session_id: sessionId, role: 'assistant' }, ['Hello', ' there']);
  const { body } = await fetch('https://example.com');
  if (body) await db.writeMessage({ session_id: sessionId, role: 'assistant' }, body.pipeThrough(new TextDecoderStream()), undefined, { signal: AbortSignal.timeout(1_000) });
  await db.writeMessage({ session_id: sessionId, role: 'assistant' }, 'Hello', (messageId) => console.log(messageId.length));
  await db.writeMessage({ session_id: sessionId, role: 'assistant' }, 'Hello', { signal: AbortSignal.timeout(1_000) });
  // @ts-expect-error: bytes are no text.
  if (body) await db.writeMessage({ session_id: sessionId, role: 'assistant' }, body);

  const undone = await db.query(documents.undo, { input: { projectId } });
  const shown: number | undefined = undone.undo?.shownMessages;
  // @ts-expect-error: an input must be given.
  await db.query(documents.undo);
  // @ts-expect-error: a project must be named.
  await db.query(documents.undo, { input: {} });
  const { viewer } = await db.query<{ viewer: { id: string } }>('{ viewer { id } }');
  // @ts-expect-error: nobody asked for it.
  console.log(paths, shown, viewer.id, viewer.name);

  const stop: () => void = db.onMessage(sessionId, ({ content, revision: at }) => console.log(content.length, at + 1));
  stop();
  for await (const { kind } of db.onProjectEvent(projectId, { signal: AbortSignal.timeout(1_000), afterRevision: next })) {
    if (kind === 'files_changed') break;
    // @ts-expect-error: there is no such kind.
    if (kind === 'files_lost') break;
  }
  for await (const { state, message } of new DatabaseService().onMessageText('id', { afterOffset: 0 })) {
    if (state === 'finished') console.log(message?.content);
  }
  // @ts-expect-error: a listener receives people, and not one.
  db.onPresence(projectId, ({ user_id }) => console.log(user_id));
  db.onCodeChange(projectId, () => {}, { onError: (error) => console.error(error instanceof AntiphonError && error.code) });
}
