// The original service's class, over GraphQL: the same calls, arguments and rows.
import { given, id, messageId, mustBe, mustFitPath, partsOf, text, time, upper } from './arguments.js';
import { Additions } from './additions.js';
import { load } from './client.js';
import {
  AntiphonError,
  type Call,
  type List,
  type Part,
  pageOf,
  paginated,
  refuse,
  size,
  sorted,
} from './connection.js';
import type {
  FileRowFragment,
  MessageRowFragment,
  ProjectRowFragment,
  SessionRowFragment,
  TotalsFragment,
} from './documents.js';
import * as rows from './rows.js';
import { found, ofKind } from './rows.js';
import type * as types from './types.js';

/** The most rows that a page of the API has. */
const LIST = 100;
const FILES = 500;
/** Versions with their texts are heavy: fewer at once. */
const TEXTS = 50;

/** The columns that the API sorts projects by. */
const PROJECT_ORDERS: Record<string, string> = {
  name: 'NAME',
  created_at: 'CREATED_AT',
  last_accessed_at: 'LAST_ACCESSED_AT',
  last_activity: 'LAST_ACTIVITY_AT',
};

/** Lets a call pass that finds nothing: there, an update of no row is no error. */
async function ifThere(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof AntiphonError && error.code === 'NOT_FOUND')) throw error;
  }
}

/** Most pages do not show the past of files. */
const history = () => load(import('./history.js'));

/** The sessions that are being started, by who starts what. */
const starting = new Map<string, Promise<types.ChatSession>>();

export class DatabaseService extends Additions {
  // ── people ──

  /** The signed-in user; null if there is none. */
  async getCurrentUser(): Promise<{ id: string; email: string } | null> {
    const call = await this.begin();
    if (!call.isSignedIn) return null;
    try {
      const { id, email } = (await call.ask('Profile', {})).viewer;
      return { id, email: email ?? '' };
    } catch (error) {
      if (error instanceof AntiphonError && error.code === 'UNAUTHENTICATED') return null;
      throw error;
    }
  }

  async getCurrentUserId(): Promise<string> {
    const user = await this.getCurrentUser();
    if (!user) throw new AntiphonError('User not authenticated', { code: 'UNAUTHENTICATED' });
    return user.id;
  }

  /** The first sign-in has made the profile; this fills it. */
  async createUserProfile(values: Omit<types.UserProfile, 'created_at' | 'updated_at'>): Promise<types.UserProfile> {
    const call = await this.begin();
    const there = (await call.ask('Profile', {})).viewer;
    mustBe('id', values.id, there.id, 'A profile is made by its own user.');
    mustBe('email', values.email, there.email, "A profile's address is the token's.");
    const input = given({ fullName: values.full_name || undefined, avatarUrl: values.avatar_url || undefined });
    if (Object.keys(input).length === 0) return rows.profile(there);
    return rows.profile(found((await call.ask('UpdateProfile', { input })).updateProfile, 'profile'));
  }

  /** The caller's, or that of somebody whom they share a project with. */
  async getUserProfile(userId?: string): Promise<types.UserProfile | null> {
    const call = await this.begin();
    if (!userId) return rows.profile((await call.ask('Profile', {})).viewer);
    const row = ofKind((await call.ask('ProfileOf', { id: userId })).node);
    return row && 'id' in row ? rows.profile(row) : null;
  }

  async updateUserProfile(values: Partial<Omit<types.UserProfile, 'id' | 'created_at'>>): Promise<types.UserProfile> {
    const call = await this.begin();
    if (values.email) {
      const { email } = (await call.ask('Profile', {})).viewer;
      mustBe('email', values.email, email, "A profile's address is the token's: change it where the user signs in.");
    }
    const input = given({ fullName: text(values.full_name), avatarUrl: text(values.avatar_url) });
    return rows.profile(found((await call.ask('UpdateProfile', { input })).updateProfile, 'profile'));
  }

  // ── projects ──

  async createProject(values: {
    name: string;
    description?: string;
    initial_prompt: string;
    config: types.JsonObject;
  }): Promise<types.Project> {
    const { name, description, initial_prompt: initialPrompt, config } = values;
    const input = { name, initialPrompt, config, ...given({ description: text(description) }) };
    const made = (await this.ask('CreateProject', { input })).createProject;
    return rows.project(found(made, 'project').project);
  }

  async getProject(projectId: string): Promise<types.Project | null> {
    const row = (await this.ask('Project', { id: projectId })).project;
    return row ? rows.project(row) : null;
  }

  /** `updated_at` and `last_accessed_at` are the server's: the latter is set to now if it is given. */
  async updateProject(
    projectId: string,
    values: Partial<Omit<types.Project, 'id' | 'created_at'>>,
  ): Promise<types.Project> {
    const call = await this.begin();
    if (values.user_id) {
      const owner = (await call.ask('Project', { id: projectId })).project?.owner.id;
      mustBe('user_id', values.user_id, owner, 'A project is handed over by `transferOwnership`.');
    }
    const { name, description, initial_prompt: initialPrompt, config, status } = values;
    const changes = given({ name, description: text(description), initialPrompt, config, status: status && upper(status) });
    let row: ProjectRowFragment | undefined;
    if (values.last_accessed_at) {
      row = found((await call.ask('TouchProject', { id: projectId })).touchProject, 'project').project;
    }
    if (Object.keys(changes).length > 0 || !row) {
      const input = { id: projectId, ...changes };
      row = found((await call.ask('UpdateProject', { input })).updateProject, 'project').project;
    }
    return rows.project(row);
  }

  /** Notes that the project has been opened. */
  async updateProjectAccess(projectId: string): Promise<void> {
    await ifThere(this.ask('TouchProject', { id: projectId }));
  }

  async deleteProject(projectId: string): Promise<void> {
    await ifThere(this.ask('DeleteProject', { id: projectId }));
  }

  /** The caller's own projects. */
  async getUserProjects(
    filters: types.ProjectFilters = {},
    pagination: types.PageRequest = {},
  ): Promise<types.Paginated<types.ProjectOverview>> {
    const call = await this.begin();
    const { sort_by: column = 'updated_at', sort_order: order = 'desc' } = pagination;
    const filter = given({
      status: filters.status ? upper(filters.status) : undefined,
      search: filters.search || undefined,
      createdAfter: time(filters.created_after),
      createdBefore: time(filters.created_before),
      isOwned: true,
    });
    const list = (field: string): List<ProjectRowFragment & TotalsFragment, types.ProjectOverview> => ({
      size: LIST,
      row: rows.overview,
      ask: async (part) => {
        const orderBy = { field, direction: upper(order) };
        return (await call.ask('Projects', { filter, orderBy, ...part })).projects;
      },
    });
    const known = PROJECT_ORDERS[column];
    if (known) return call.page(pagination, 20, list(known));
    if (column === 'updated_at' && order === 'desc') {
      // Whichever of the two times is the later: the first n by it are among the first n by each.
      const { page, limit } = size(pagination, 20);
      const updated = await call.rows(list('UPDATED_AT'), page * limit);
      const opened = await call.rows(list('LAST_ACCESSED_AT'), page * limit);
      const both = new Map([...updated.rows, ...opened.rows].map((row) => [row.id, row]));
      const data = sorted([...both.values()], column, order).slice((page - 1) * limit, page * limit);
      return paginated(data, updated.total, page, limit);
    }
    const all = await call.rows(list('CREATED_AT'));
    return pageOf(sorted(all.rows, column, order), pagination, 20);
  }

  // ── sessions and messages ──

  /**
   * Ends the caller's active session of the project, then starts one. Equal calls at the same time (React's strict mode runs an
   * effect twice) start one session: of two, one would be ended at once.
   */
  async createChatSession(values: {
    project_id: string;
    title?: string;
    metadata?: types.JsonObject;
  }): Promise<types.ChatSession> {
    const input = { projectId: values.project_id, ...given({ title: text(values.title), metadata: values.metadata }) };
    const call = await this.begin();
    const key = JSON.stringify([call.caller, input]);
    const start = async () => rows.session(found((await call.ask('StartSession', { input })).startSession, 'project').session);
    const started = starting.get(key) ?? start().finally(() => starting.delete(key));
    starting.set(key, started);
    return { ...(await started) };
  }

  async getChatSession(sessionId: string): Promise<types.ChatSession | null> {
    const row = ofKind((await this.ask('Session', { id: sessionId })).node);
    return row && 'id' in row ? rows.session(row) : null;
  }

  async getActiveSession(projectId: string): Promise<types.ChatSession | null> {
    const row = (await this.ask('ActiveSession', { id: projectId })).project?.activeSession;
    return row ? rows.session(row) : null;
  }

  async endChatSession(sessionId: string): Promise<types.ChatSession> {
    const ended = (await this.ask('EndSession', { id: sessionId })).endSession;
    return rows.session(found(ended, 'session').session);
  }

  /** Newest first, unless they are asked for in another order. */
  async getProjectChatSessions(
    projectId: string,
    filters: types.SessionFilters = {},
    pagination: types.PageRequest = {},
  ): Promise<types.Paginated<types.ChatSession>> {
    const call = await this.begin();
    const { is_active: isActive, started_after: after, started_before: before } = filters;
    const filter = given({ isActive, startedAfter: time(after), startedBefore: time(before) });
    const { sort_by: column = 'started_at', sort_order: order = 'desc' } = pagination;
    const list: List<SessionRowFragment, types.ChatSession> = {
      size: LIST,
      row: rows.session,
      isReversed: column === 'started_at' && order === 'asc',
      ask: async (part) => (await call.ask('Sessions', { id: projectId, filter, ...part })).project?.sessions,
    };
    if (column === 'started_at') return call.page(pagination, 20, list);
    return pageOf(sorted((await call.rows(list)).rows, column, order), pagination, 20);
  }

  /** An assistant's message with `is_checkpoint` makes a snapshot of the project. */
  async createChatMessage(values: {
    session_id: string;
    role: types.MessageRole;
    content: string;
    is_checkpoint?: boolean;
    context_data?: types.JsonObject;
    metadata?: types.JsonObject;
  }): Promise<types.ChatMessage> {
    const { session_id: sessionId, role, content } = values;
    const { is_checkpoint: isCheckpoint, context_data: contextData, metadata } = values;
    const input = { sessionId, role: upper(role), content, ...given({ isCheckpoint, contextData, metadata }) };
    const added = (await this.ask('AddMessage', { input })).addMessage;
    return rows.message(found(added, 'session').message);
  }

  /** Oldest first, unless they are asked for in another order. */
  async getSessionMessages(
    sessionId: string,
    filters: types.MessageFilters = {},
    pagination: types.PageRequest = {},
  ): Promise<types.Paginated<types.ChatMessage>> {
    const call = await this.begin();
    const filter = given({
      role: filters.role ? upper(filters.role) : undefined,
      isCheckpoint: filters.is_checkpoint,
      search: filters.search || undefined,
      after: time(filters.timestamp_after),
      before: time(filters.timestamp_before),
    });
    const { sort_by: column = 'timestamp', sort_order: order = 'asc' } = pagination;
    const list: List<MessageRowFragment, types.ChatMessage> = {
      size: FILES,
      row: rows.message,
      isReversed: column === 'timestamp' && order === 'desc',
      ask: async (part) => {
        const node = ofKind((await call.ask('Messages', { id: sessionId, filter, ...part })).node);
        return node && 'messages' in node ? (node.messages as Part<MessageRowFragment>) : null;
      },
    };
    if (column === 'timestamp') return call.page(pagination, 50, list);
    return pageOf(sorted((await call.rows(list)).rows, column, order), pagination, 50);
  }

  async getCheckpointMessages(sessionId: string): Promise<types.ChatMessage[]> {
    const node = ofKind((await this.ask('Checkpoints', { id: sessionId })).node);
    return node && 'checkpoints' in node ? node.checkpoints.map(rows.message) : [];
  }

  // ── files ──

  async createProjectFile(
    projectId: string,
    values: {
      file_path: string;
      file_name: string;
      file_type: types.FileType;
      content?: string;
      language?: string;
      parent_path?: string;
    },
  ): Promise<types.ProjectFile> {
    const { file_path: path, file_name: name, file_type: type, parent_path: parent } = values;
    mustFitPath(path, name, parent);
    const content = type === 'folder' ? values.content || undefined : values.content;
    const input = { projectId, path, type: upper(type), ...given({ content, language: values.language || undefined }) };
    const made = (await this.ask('CreateFile', { input })).createFile;
    return rows.file(found(made, 'project').file);
  }

  async getProjectFiles(projectId: string, includeDeleted = false): Promise<types.ProjectFile[]> {
    const call = await this.begin();
    const list: List<FileRowFragment, types.ProjectFile> = {
      size: FILES,
      row: rows.file,
      ask: async ({ rows: _, ...part }) => {
        return (await call.ask('Files', { id: projectId, includeDeleted, ...part })).project?.files;
      },
    };
    const files = (await call.rows(list)).rows;
    // A deleted file has the content that it had.
    const deleted = files.filter((file) => file.is_deleted && file.file_type === 'file');
    for (let at = 0; at < deleted.length; at += TEXTS) {
      const some = deleted.slice(at, at + TEXTS);
      const { nodes } = await call.ask('LastContents', { ids: some.map((file) => file.id) });
      for (const [index, file] of some.entries()) {
        const node = ofKind(nodes[index]);
        const versions = node && 'versions' in node ? node.versions.nodes : [];
        file.content = versions.find((version) => !version.isDeletion)?.content ?? null;
      }
    }
    return files;
  }

  async getProjectFile(projectId: string, filePath: string): Promise<types.ProjectFile | null> {
    const row = (await this.ask('file', { projectId, path: filePath })).project?.file;
    return row ? rows.file(row) : null;
  }

  async updateProjectFile(
    projectId: string,
    values: { file_path: string; content: string; change_description?: string },
    sessionId?: string,
    ofMessage?: string,
  ): Promise<types.ProjectFile> {
    const { file_path: path, content, change_description: changeDescription } = values;
    const context = given({
      changeDescription: changeDescription || undefined,
      sessionId: id(sessionId),
      messageId: messageId(ofMessage),
    });
    const input = { projectId, path, content, ...context };
    const updated = (await this.ask('UpdateFile', { input })).updateFile;
    return rows.file(found(updated, 'file').file);
  }

  async deleteProjectFile(projectId: string, filePath: string): Promise<void> {
    await ifThere(this.ask('DeleteFile', { input: { projectId, path: filePath } }));
  }

  /**
   * Every write keeps the state before it: this writes nothing. It returns the state of the version (without one, of the content)
   * that is passed, and refuses whatever else is passed and not recorded of it.
   */
  async createFileSnapshot(values: Omit<types.FileSnapshot, 'id' | 'created_at'>): Promise<types.FileSnapshot> {
    const call = await this.begin();
    return (await history()).fileSnapshot(call, values);
  }

  /** The states before each edit and deletion of a file, newest first. */
  async getFileSnapshots(fileId: string): Promise<types.FileSnapshot[]> {
    const call = await this.begin();
    return (await history()).fileSnapshots(call, fileId);
  }

  async revertFileToSnapshot(fileId: string, snapshotId: string): Promise<types.ProjectFile> {
    const call = await this.begin();
    return (await history()).revert(call, fileId, snapshotId);
  }

  /** Creates what is new and updates what differs, all of it or nothing; folders are those of the paths. */
  async syncVirtualFileSystemToDatabase(
    projectId: string,
    sessionId: string,
    ofMessage: string,
    files: types.VirtualFile[],
    description?: string,
  ): Promise<void> {
    const call = await this.begin();
    const real = files.filter(({ type }) => type !== 'folder');
    for (const { path, name } of real) mustFitPath(path, name, undefined);
    let present = new Set<string>();
    if (real.some(({ content }) => typeof content !== 'string')) {
      const list: List<{ path: string }, string> = {
        size: FILES,
        row: ({ path }) => path,
        ask: async ({ rows: _, ...part }) => (await call.ask('Paths', { id: projectId, ...part })).project?.files,
      };
      present = new Set((await call.rows(list)).rows);
    }
    const inputs = real.flatMap(({ path, content }) => {
      if (typeof content === 'string') return [{ path, content }];
      return present.has(partsOf(path).join('/')) ? [] : [{ path, content: '' }];
    });
    const context = given({
      sessionId: id(sessionId),
      messageId: messageId(ofMessage),
      changeDescription: description || undefined,
    });
    await call.ask('syncFiles', { input: { projectId, files: inputs, ...context } });
  }

  // ── snapshots and changes ──

  async createProjectSnapshot(
    projectId: string,
    sessionId?: string,
    ofMessage?: string,
    name?: string,
    description?: string,
  ): Promise<types.ProjectSnapshot> {
    const call = await this.begin();
    const context = { sessionId: id(sessionId), messageId: messageId(ofMessage) };
    const input = given({ projectId, ...context, name: name || undefined, description: description || undefined });
    return (await history()).createSnapshot(call, input);
  }

  /** Newest first, with their files: a request each besides. */
  async getProjectSnapshots(projectId: string): Promise<types.ProjectSnapshot[]> {
    const call = await this.begin();
    return (await history()).projectSnapshots(call, projectId);
  }

  /** The state before becomes a snapshot named "Pre-restore backup". */
  async restoreProjectSnapshot(snapshotId: string): Promise<void> {
    await this.api.restoreSnapshot({ snapshotId });
  }

  /**
   * Every write records its changes: this writes nothing. It returns the newest change of the file that is as described, and
   * refuses one that no write made.
   */
  async createCodeChange(values: Omit<types.CodeChange, 'id' | 'created_at'>): Promise<types.CodeChange> {
    const call = await this.begin();
    return (await history()).codeChange(call, values);
  }

  /** Newest first. */
  async getProjectCodeChanges(projectId: string): Promise<types.FileChangeHistory[]> {
    const call = await this.begin();
    return (await history()).changes(call, projectId);
  }

  // ── analytics ──

  /** The newest messages of the caller's own active projects. */
  async getRecentActivity(limit = 20): Promise<types.RecentActivity[]> {
    const call = await this.begin();
    const own: types.RecentActivity[] = [];
    let after: string | null = null;
    while (own.length < limit) {
      const answer: Awaited<ReturnType<typeof call.ask<'RecentActivity'>>> = await call.ask('RecentActivity', {
        first: Math.min(limit, LIST),
        after,
      });
      const part = answer.recentActivity;
      const mine = (part?.nodes ?? []).filter((row) => row.project.owner.id === answer.viewer.id);
      own.push(...mine.map(rows.activity));
      if (!part?.pageInfo.hasNextPage) break;
      after = part.pageInfo.endCursor ?? null;
    }
    return own.slice(0, limit);
  }

  async getProjectStats(projectId: string): Promise<types.ProjectStats> {
    const row = (await this.ask('Project', { id: projectId })).project;
    return {
      project: row ? rows.project(row) : null,
      totalSessions: row?.stats.totalSessions ?? 0,
      totalMessages: row?.stats.totalMessages ?? 0,
      totalFiles: row?.stats.totalFiles ?? 0,
      totalChanges: row?.stats.totalChanges ?? 0,
      lastActivity: row?.stats.lastActivityAt ?? null,
    };
  }
}

/** The one that a page needs. */
export const db = new DatabaseService();
