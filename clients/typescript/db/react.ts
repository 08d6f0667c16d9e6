'use client';

// Hooks over the live service. Components that ask for the same share one request, and all of a project share one event stream.
import { createContext, createElement, type ReactNode, useCallback, useContext, useSyncExternalStore } from 'react';

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

const Service = createContext<DatabaseService>(db);

/** Gives the hooks below it a service of their own; without it they use `db`. */
export function DatabaseProvider({ service, children }: { service: DatabaseService; children?: ReactNode }): ReactNode {
  return createElement(Service.Provider, { value: service }, children);
}

/** What a hook knows. After an error `data` is what was last known. */
export interface Live<Data> {
  data: Data | undefined;
  error: AntiphonError | undefined;
  /** Whether nothing has been received yet. */
  isLoading: boolean;
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

/** Delivers data and errors until it is stopped. */
type Source<Data> = (
  deliver: (data: Data) => void,
  fail: (error: unknown) => void,
  signal: AbortSignal,
) => void | Promise<void>;

interface Resource {
  state: Live<any>;
  listeners: Set<() => void>;
  stop: AbortController;
}

const LOADING: Live<any> = { data: undefined, error: undefined, isLoading: true };
const IDLE: Live<any> = { data: undefined, error: undefined, isLoading: false };

/** How long what nobody shows any more is kept, in milliseconds: strict mode and navigation leave and come back at once. */
const LINGER = 1_000;

/** How long a failed request waits for its next attempt, in milliseconds. */
const RETRY = 2_000;

const resources = new WeakMap<DatabaseService, Map<string, Resource>>();

function resourcesOf(service: DatabaseService): Map<string, Resource> {
  const present = resources.get(service) ?? new Map<string, Resource>();
  resources.set(service, present);
  return present;
}

function open<Data>(source: Source<Data>): Resource {
  const resource: Resource = { state: LOADING, listeners: new Set(), stop: new AbortController() };
  const { signal } = resource.stop;
  const set = (state: Live<Data>) => {
    if (signal.aborted) return;
    resource.state = state;
    for (const listener of [...resource.listeners]) listener();
  };
  const fail = (cause: unknown) => {
    const error = cause instanceof AntiphonError ? cause : new AntiphonError(String(cause), { code: 'INTERNAL' }, { cause });
    set({ ...resource.state, error, isLoading: false });
  };
  const run = async () => source((data) => set({ data, error: undefined, isLoading: false }), fail, signal);
  run().catch(fail);
  return resource;
}

/** Holds a resource for as long as it has listeners. */
function hold<Data>(service: DatabaseService, key: string, source: Source<Data>, listener: () => void): () => void {
  const all = resourcesOf(service);
  const resource = all.get(key) ?? open(source);
  all.set(key, resource);
  resource.listeners.add(listener);
  return () => {
    resource.listeners.delete(listener);
    setTimeout(() => {
      if (resource.listeners.size > 0 || all.get(key) !== resource) return;
      all.delete(key);
      resource.stop.abort();
    }, LINGER);
  };
}

function useLive<Data>(key: string | null, source: (service: DatabaseService) => Source<Data>): Live<Data> {
  const service = useContext(Service);
  const subscribe = useCallback(
    (listener: () => void) => (key === null ? () => {} : hold(service, key, source(service), listener)),
    // The key says all that the source depends on.
    [service, key],
  );
  const state = () => (key === null ? IDLE : (resourcesOf(service).get(key)?.state ?? LOADING));
  return useSyncExternalStore(subscribe, state, () => (key === null ? IDLE : LOADING));
}

const isTransient = (error: unknown) =>
  error instanceof AntiphonError && ['NETWORK', 'RATE_LIMITED', 'UNAVAILABLE', 'INTERNAL'].includes(error.code);

/** Loads, again after a failure that may pass. */
async function persist<Data>(load: () => Promise<Data>, fail: (error: unknown) => void, signal: AbortSignal): Promise<Data> {
  for (;;) {
    try {
      return await load();
    } catch (error) {
      if (!isTransient(error) || signal.aborted) throw error;
      fail(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY));
    }
  }
}

/** The events of a project as a resource: those that came, counted, and the newest. */
interface Feed {
  count: number;
  event: ProjectEvent | null;
}

const feed = (service: DatabaseService, projectId: string): Source<Feed> => async (deliver, fail, signal) => {
  let count = 0;
  const afterRevision = await persist(() => service.getRevision(projectId), fail, signal);
  deliver({ count, event: null });
  for await (const event of service.onProjectEvent(projectId, { afterRevision, signal })) deliver({ count: (count += 1), event });
};

/** Calls back with each event of a project from now on; first with null, once none can be missed. */
function follow(
  service: DatabaseService,
  projectId: string,
  handle: (event: ProjectEvent | null) => void,
  fail: (error: unknown) => void,
  signal: AbortSignal,
): void {
  if (signal.aborted) return;
  const key = `feed ${projectId}`;
  const present = () => resourcesOf(service).get(key)?.state as Live<Feed> | undefined;
  let isAttached = false;
  const listener = () => {
    const { data, error } = present() ?? LOADING;
    if (error) fail(error);
    else if (!isAttached && data) {
      isAttached = true;
      handle(null);
    } else if (data?.event) handle(data.event);
  };
  const end = hold(service, key, feed(service, projectId), listener);
  signal.addEventListener('abort', end, { once: true });
  if (present()?.data || present()?.error) listener();
}

/** A function that loads and delivers; asked again meanwhile, it loads once more after that. */
function loader<Data>(
  load: () => Promise<Data>,
  deliver: (data: Data) => void,
  fail: (error: unknown) => void,
  signal: AbortSignal,
): { reload: () => void; isLoading: () => boolean } {
  let isRunning = false;
  let isStale = false;
  const run = async () => {
    isRunning = true;
    while (isStale && !signal.aborted) {
      isStale = false;
      try {
        const data = await persist(load, fail, signal);
        // Also if it is stale already: otherwise a busy project would never be shown.
        if (!signal.aborted) deliver(data);
      } catch (error) {
        fail(error);
      }
    }
    isRunning = false;
  };
  const reload = () => {
    isStale = true;
    if (!isRunning) void run();
  };
  return { reload, isLoading: () => isRunning };
}

/** What is loaded now, and again after each event of some kinds. */
const reloaded = <Data,>(
  service: DatabaseService,
  projectId: string,
  kinds: readonly ProjectEventKind[],
  load: () => Promise<Data>,
): Source<Data> => (deliver, fail, signal) => {
  const { reload } = loader(load, deliver, fail, signal);
  follow(service, projectId, (event) => (!event || kinds.includes(event.kind)) && reload(), fail, signal);
};

const FILES = ['files_changed', 'project_restored'] as const;

/** What was asked of something that must be there. */
function there<T>(value: T | null, noun: string): T {
  if (value === null) throw new AntiphonError(`There is no such ${noun}.`, { code: 'NOT_FOUND' });
  return value;
}

/** A project's own fields. */
export function useProject(projectId: string | null | undefined): Live<Project> {
  return useLive(projectId ? `project ${projectId}` : null, (service) =>
    reloaded(service, projectId!, ['project_updated', 'project_restored', 'collaborators_changed'], async () =>
      there(await service.getProject(projectId!), 'project'),
    ),
  );
}

/** The messages of a session, oldest first. */
export function useMessages(sessionId: string | null | undefined): Live<ChatMessage[]> {
  return useLive<ChatMessage[]>(sessionId ? `messages ${sessionId}` : null, (service) => async (deliver, fail, signal) => {
    const session = there(await persist(() => service.getChatSession(sessionId!), fail, signal), 'session');
    let messages: ChatMessage[] = [];
    const set = (next: ChatMessage[]) => deliver((messages = next));
    const load = async () => (await service.getSessionMessages(sessionId!, {}, { limit: Infinity })).data;
    const { reload, isLoading } = loader(load, set, fail, signal);
    const handle = (event: ProjectEvent | null) => {
      if (!event || event.kind === 'project_restored') return reload();
      const { kind, message } = event;
      if (kind !== 'message_added' || message === null || message.session_id !== sessionId) return;
      if (isLoading()) reload();
      else if (!messages.some(({ id }) => id === message.id)) set([...messages, message]);
    };
    follow(service, session.project_id, handle, fail, signal);
  });
}

/** The files and folders of a project by their paths, without contents. */
export function useFiles(projectId: string | null | undefined): Live<FileEntry[]> {
  return useLive(projectId ? `files ${projectId}` : null, (service) =>
    reloaded(service, projectId!, FILES, async () => {
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
  return useLive(projectId && path ? `file ${projectId} ${path}` : null, (service) =>
    reloaded(service, projectId!, FILES, () => service.getProjectFile(projectId!, path!)),
  );
}

/** The newest changes of a project's files, newest first. */
export function useHistory(projectId: string | null | undefined, { limit = 50 }: { limit?: number } = {}): Live<HistoryEntry[]> {
  return useLive(projectId ? `history ${projectId} ${limit}` : null, (service) =>
    reloaded(service, projectId!, FILES, async () => {
      const { nodes } = await service.api.history({ projectId: projectId!, first: limit });
      return nodes.map((change) => ({
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
  return useLive<StreamingMessage>(messageId ? `text ${messageId}` : null, (service) => async (deliver, _, signal) => {
    let text = '';
    for await (const piece of service.onMessageText(messageId!, { signal })) {
      text += piece.text;
      deliver({ text, state: piece.state, message: piece.message });
    }
  });
}

/** The people who listen to a project. */
export function usePresence(projectId: string | null | undefined): Live<Presence[]> {
  return useLive<Presence[]>(projectId ? `presence ${projectId}` : null, (service) => async (deliver, _, signal) => {
    for await (const people of service.onPresence(projectId!, { signal })) deliver(people);
  });
}
