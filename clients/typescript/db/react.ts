'use client';

// Hooks over the live service. Components that ask for the same share one request, and all of a project share one event stream.
import { createContext, createElement, type ReactNode, useCallback, useContext, useRef, useSyncExternalStore } from 'react';

import {
  AntiphonError,
  type ChangeType,
  type ChatMessage,
  type DatabaseService,
  db,
  type MessageText,
  type Presence,
  type Project,
  type ProjectEvent,
  type ProjectEventKind,
  type ProjectFile,
} from './index.js';
import { IDLE, type Live, LOADING, type Run, type Source, Store } from './store.js';

export type { Live } from './store.js';

const Service = createContext<DatabaseService>(db);

/** Gives the hooks below it a service of their own; without it they use `db`. */
export function DatabaseProvider({ service, children }: { service: DatabaseService; children?: ReactNode }): ReactNode {
  return createElement(Service.Provider, { value: service }, children);
}

/** A file in a list, without its content. */
export type FileEntry = Omit<ProjectFile, 'content' | 'is_deleted' | 'project_id'>;

/** A change in a list, without contents. */
export interface HistoryEntry {
  id: string;
  revision: number;
  change_type: ChangeType;
  file_id: string;
  file_path: string;
  old_path: string | null;
  additions: number;
  deletions: number;
  change_description: string | null;
  created_at: string;
  user_id: string | null;
  user_name: string | null;
  session_id: string | null;
  message_id: string | null;
}

/** A message that is being written. */
export interface StreamingMessage {
  text: string;
  state: MessageText['state'];
  /** The message once it is finished. */
  message: ChatMessage | null;
}

function useLive<Data>(key: string | null, source: Source<Data>): Live<Data> {
  const store = Store.of(useContext(Service));
  // What another component has loaded may be a former user's: it is shown once the user is confirmed.
  const confirmed = useRef<unknown>(undefined);
  const subscribe = useCallback(
    (listener: () => void): (() => void) => {
      if (key === null) return () => {};
      let isOver = false;
      const end = store.watch(key, source, listener, () => {
        if (!isOver) confirmed.current = subscribe;
      });
      return () => {
        isOver = true;
        confirmed.current = undefined;
        end();
      };
    },
    // The source depends on nothing but what the key consists of.
    [store, key],
  );
  const state = () => (key === null ? IDLE : confirmed.current === subscribe ? store.state(key) : LOADING);
  return useSyncExternalStore(subscribe, state, () => (key === null ? IDLE : LOADING));
}

/** The newest event of a project, as a resource; null once none can be missed from now on. */
const feed = (projectId: string): Source<ProjectEvent | null> => async ({ store, signal, deliver }) => {
  const { service } = store;
  const afterRevision = await service.getRevision(projectId);
  deliver(null);
  await each(service, service.onProjectEvent(projectId, { afterRevision, signal }), deliver);
};

/** Delivers items. A stream has the user of its start, so the present user is checked before each item. */
async function each<Item>(service: DatabaseService, items: AsyncIterable<Item>, deliver: (item: Item) => void): Promise<void> {
  for await (const item of items) {
    await service.getCaller().catch(() => {});
    deliver(item);
  }
}

/** Calls back with each event of a project from now on, and with null whenever some may have been missed, so at first. */
function follow(projectId: string, { store, signal, fail }: Run<any>, handle: (event: ProjectEvent | null) => void): void {
  if (signal.aborted) return;
  const key = `feed ${projectId}`;
  let last: Live<ProjectEvent | null> | undefined;
  let isAttached = false;
  const listener = () => {
    const state = store.loaded(key);
    if (!state || state === last) return;
    last = state;
    if (state.error) fail(state.error);
    else if (!state.isLoading) {
      handle(isAttached ? state.data! : null);
      isAttached = true;
    }
  };
  const end = store.hold(key, feed(projectId), listener);
  signal.addEventListener('abort', end, { once: true });
  listener();
}

/** A function that loads and delivers; called again meanwhile, it loads once more after that. */
function loader<Data>(load: () => Promise<Data>, run: Run<Data>): { reload: () => void; isLoading: () => boolean } {
  let isRunning = false;
  let isStale = false;
  const start = async () => {
    isRunning = true;
    while (isStale && !run.signal.aborted) {
      isStale = false;
      try {
        // Delivered even if it is stale already: otherwise a busy project would never be shown.
        run.deliver(await run.store.persist(load, run));
      } catch (error) {
        run.fail(error);
      }
    }
    isRunning = false;
  };
  const reload = () => {
    isStale = true;
    if (!isRunning) void start();
  };
  return { reload, isLoading: () => isRunning };
}

/** What is loaded now, and again after each event of some kinds. */
const reloaded = <Data,>(
  projectId: string,
  kinds: readonly ProjectEventKind[],
  load: (service: DatabaseService) => Promise<Data>,
): Source<Data> => (run) => {
  const { reload } = loader(() => load(run.store.service), run);
  follow(projectId, run, (event) => (!event || kinds.includes(event.kind)) && reload());
};

const FILES = ['files_changed', 'project_restored'] as const;

/** What was asked of something that must be there. */
function there<T>(value: T | null, noun: string): T {
  if (value === null) throw new AntiphonError(`There is no such ${noun}.`, { code: 'NOT_FOUND' });
  return value;
}

/** A project's own fields. */
export function useProject(projectId: string | null | undefined): Live<Project> {
  const kinds = ['project_updated', 'project_restored', 'collaborators_changed'] as const;
  return useLive(
    projectId ? `project ${projectId}` : null,
    reloaded(projectId!, kinds, async (service) => there(await service.getProject(projectId!), 'project')),
  );
}

/** The messages of a session, oldest first. */
export function useMessages(sessionId: string | null | undefined): Live<ChatMessage[]> {
  return useLive<ChatMessage[]>(sessionId ? `messages ${sessionId}` : null, async (run) => {
    const { service } = run.store;
    const session = there(await service.getChatSession(sessionId!), 'session');
    let messages: ChatMessage[] = [];
    const deliver = (next: ChatMessage[]) => run.deliver((messages = next));
    const load = async () => (await service.getSessionMessages(sessionId!, {}, { limit: Number.MAX_SAFE_INTEGER })).data;
    const { reload, isLoading } = loader(load, { ...run, deliver });
    follow(session.project_id, run, (event) => {
      if (!event || event.kind === 'project_restored') return reload();
      const { kind, message } = event;
      if (kind !== 'message_added' || message === null || message.session_id !== sessionId) return;
      if (isLoading()) reload();
      else if (!messages.some(({ id }) => id === message.id)) deliver([...messages, message]);
    });
  });
}

/** The files and folders of a project by their paths, without contents. */
export function useFiles(projectId: string | null | undefined): Live<FileEntry[]> {
  return useLive(
    projectId ? `files ${projectId}` : null,
    reloaded(projectId!, FILES, async (service) => {
      const files: FileEntry[] = [];
      let after: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof service.api.fileList>> = await service.api.fileList({ projectId: projectId!, first: 500, after });
        for (const file of page.nodes) {
          files.push({
            id: file.id,
            file_path: file.path,
            file_name: file.name,
            file_type: file.type === 'FOLDER' ? 'folder' : 'file',
            language: file.language ?? null,
            size_bytes: file.sizeBytes,
            version: file.version,
            parent_path: file.parentPath ?? null,
            created_at: file.createdAt,
            updated_at: file.updatedAt,
          });
        }
        after = (page.pageInfo.hasNextPage && page.pageInfo.endCursor) || null;
      } while (after);
      return files;
    }),
  );
}

/** A file with its content; null if there is none at the path. */
export function useFile(projectId: string | null | undefined, path: string | null | undefined): Live<ProjectFile | null> {
  return useLive(
    projectId && path ? `file ${projectId} ${path}` : null,
    reloaded(projectId!, FILES, (service) => service.getProjectFile(projectId!, path!)),
  );
}

/** The newest changes of a project's files, newest first. */
export function useHistory(projectId: string | null | undefined, { limit = 50 }: { limit?: number } = {}): Live<HistoryEntry[]> {
  return useLive(
    projectId ? `history ${projectId} ${limit}` : null,
    reloaded(projectId!, FILES, async (service) => {
      if (!Number.isSafeInteger(limit) || limit < 0) throw new AntiphonError('limit must be a whole number.', { code: 'BAD_USER_INPUT', field: 'limit' });
      const changes: Awaited<ReturnType<typeof service.api.history>>['nodes'] = [];
      for (let after: string | null = null; changes.length < limit; ) {
        const first = Math.min(limit - changes.length, 100);
        const page: Awaited<ReturnType<typeof service.api.history>> = await service.api.history({ projectId: projectId!, first, after });
        changes.push(...page.nodes);
        if (!page.pageInfo.hasNextPage) break;
        after = page.pageInfo.endCursor ?? null;
      }
      return changes.map((change) => ({
        id: change.id,
        revision: change.revision,
        change_type: change.type.toLowerCase() as ChangeType,
        file_id: change.file.id,
        file_path: change.path,
        old_path: change.oldPath ?? null,
        additions: change.additions,
        deletions: change.deletions,
        change_description: change.changeDescription ?? null,
        created_at: change.createdAt,
        user_id: change.createdBy?.id ?? null,
        user_name: change.createdBy?.fullName ?? null,
        session_id: change.session?.id ?? null,
        message_id: change.message?.id ?? null,
      }));
    }),
  );
}

/** A message's text while it is being written, and the message once it is finished. */
export function useStreamingMessage(messageId: string | null | undefined): Live<StreamingMessage> {
  return useLive<StreamingMessage>(messageId ? `text ${messageId}` : null, async ({ store, signal, deliver }) => {
    let text = '';
    await each(store.service, store.service.onMessageText(messageId!, { signal }), (piece) => {
      text += piece.text;
      deliver({ text, state: piece.state, message: piece.message });
    });
  });
}

/** The subscribers of a project. */
export function usePresence(projectId: string | null | undefined): Live<Presence[]> {
  return useLive<Presence[]>(projectId ? `presence ${projectId}` : null, ({ store, signal, deliver }) =>
    each(store.service, store.service.onPresence(projectId!, { signal }), deliver),
  );
}
