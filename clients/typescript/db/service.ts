// The original service's class, over GraphQL: the same calls, arguments and rows.
import { id, inputOf, messageId, mustBeWhole, paging } from './arguments.js';
import { Additions, transfer } from './additions.js';
import { load } from './client.js';
import { AntiphonError, inColumns, type List, type Part, pageOf } from './connection.js';
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

/** The columns that the API sorts projects by. */
const PROJECT_ORDERS: Record<string, string> = {
  name: 'NAME',
  created_at: 'CREATED_AT',
  last_accessed_at: 'LAST_ACCESSED_AT',
  last_activity: 'LAST_ACTIVITY_AT',
};

/** The columns of the lists' rows. */
const PROJECTS =
  'id user_id name description initial_prompt config status created_at updated_at last_accessed_at total_sessions total_messages total_files latest_session_date last_activity';
const SESSIONS = 'id project_id user_id title started_at ended_at message_count is_active metadata';
const MESSAGES = 'id session_id user_id role content timestamp is_checkpoint context_data metadata';

/** Undefined if nothing is found, also at a path that no file can have. In the original, an update of no row is no error. */
async function ifThere<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const { code, extensions } = Object(error) as AntiphonError;
    if (code === 'NOT_FOUND' || (code === 'BAD_USER_INPUT' && extensions.field === 'file_path')) return undefined;
    throw error;
  }
}

/** Most pages neither show the past of files, nor change projects and profiles or create files. */
const history = () => load(import('./history.js'));
const edits = () => load(import('./edits.js'));

/** The sessions that are being started, by their users and arguments. */
const starting = new Map<string, Promise<types.ChatSession>>();

export class DatabaseService extends Additions {
  // ── people ──

  /** The signed-in user; null if there is none. */
  async getCurrentUser(): Promise<{ id: string; email: string } | null> {
    const call = await this.begin();
    if (call.token === null) return null;
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

  /** The first sign-in creates the profile, and this fills it in: null leaves a name or a picture that is there. */
  async createUserProfile(values: Omit<types.UserProfile, 'created_at' | 'updated_at'>): Promise<types.UserProfile> {
    const call = await this.begin();
    return (await edits()).fillProfile(call, values);
  }

  /** The caller's profile. Profiles of other users cannot be seen: null. */
  async getUserProfile(userId?: string): Promise<types.UserProfile | null> {
    const call = await this.begin();
    return userId ? (await edits()).profileOf(call, userId) : rows.profile((await call.ask('Profile', {})).viewer);
  }

  /** `updated_at` is the server's. */
  async updateUserProfile(values: Partial<Omit<types.UserProfile, 'id' | 'created_at'>>): Promise<types.UserProfile> {
    const call = await this.begin();
    return (await edits()).updateProfile(call, values);
  }

  // ── projects ──

  async createProject(values: {
    name: string;
    description?: string;
    initial_prompt: string;
    config: types.JsonObject;
  }): Promise<types.Project> {
    const input = inputOf(values, 'name! description initial_prompt! config!');
    const made = (await this.ask('CreateProject', { input })).createProject;
    return rows.project(found(made, 'project').project);
  }

  async getProject(projectId: string): Promise<types.Project | null> {
    const row = (await this.ask('Project', { id: projectId })).project;
    return row ? rows.project(row) : null;
  }

  /** `updated_at` is the server's, and a later `last_accessed_at` becomes the server's time. */
  async updateProject(
    projectId: string,
    values: Partial<Omit<types.Project, 'id' | 'created_at'>>,
  ): Promise<types.Project> {
    const call = await this.begin();
    return (await edits()).updateProject(call, projectId, values);
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
    const filter = { ...inputOf(filters, 'status search created_after created_before', true), isOwned: true };
    const page = paging(pagination, PROJECTS, { limit: 20, column: 'updated_at', order: 'desc' });
    const call = await this.begin();
    const { column, order } = page;
    const list = (field: string): List<ProjectRowFragment & TotalsFragment, types.ProjectOverview> => ({
      size: LIST,
      row: rows.overview,
      ask: async (part) => {
        const orderBy = { field, direction: order === 'asc' ? 'ASC' : 'DESC' };
        return (await call.ask('Projects', { filter, orderBy, ...part })).projects;
      },
    });
    const known = PROJECT_ORDERS[column];
    if (known) return call.page(page, list(known));
    if (column === 'updated_at' && order === 'desc') {
      // Whichever of the two times is the later: the first n by it are among the first n by each.
      const count = page.page * page.limit;
      const updated = await call.rows(list('UPDATED_AT'), count);
      const opened = await call.rows(list('LAST_ACCESSED_AT'), count);
      const both = new Map([...updated.rows, ...opened.rows].map((row) => [row.id, row]));
      return pageOf([...both.values()], updated.total, page);
    }
    const all = await call.rows(list('CREATED_AT'));
    return pageOf(all.rows, all.total, page);
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
    const input = inputOf(values, 'project_id! title metadata');
    const call = await this.begin();
    const key = JSON.stringify([call.user, input]);
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
    const filter = inputOf(filters, 'is_active! started_after started_before', true);
    const page = paging(pagination, SESSIONS, { limit: 20, column: 'started_at', order: 'desc' });
    const call = await this.begin();
    const list: List<SessionRowFragment, types.ChatSession> = {
      size: LIST,
      row: rows.session,
      isReversed: page.column === 'started_at' && page.order === 'asc',
      ask: async (part) => (await call.ask('Sessions', { id: projectId, filter, ...part })).project?.sessions,
    };
    if (page.column === 'started_at') return call.page(page, list);
    const all = await call.rows(list);
    return pageOf(all.rows, all.total, page);
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
    const input = inputOf(values, 'session_id! role! content! is_checkpoint context_data metadata');
    const added = (await this.ask('AddMessage', { input })).addMessage;
    return rows.message(found(added, 'session').message);
  }

  /** Oldest first, unless they are asked for in another order. */
  async getSessionMessages(
    sessionId: string,
    filters: types.MessageFilters = {},
    pagination: types.PageRequest = {},
  ): Promise<types.Paginated<types.ChatMessage>> {
    const names = 'role is_checkpoint! search timestamp_after timestamp_before';
    const { timestampAfter: after, timestampBefore: before, ...others } = inputOf(filters, names, true);
    const filter = { ...others, after, before };
    const page = paging(pagination, MESSAGES, { limit: 50, column: 'timestamp', order: 'asc' });
    const call = await this.begin();
    const list: List<MessageRowFragment, types.ChatMessage> = {
      size: FILES,
      row: rows.message,
      isReversed: page.column === 'timestamp' && page.order === 'desc',
      ask: async (part) => {
        const node = ofKind((await call.ask('Messages', { id: sessionId, filter, ...part })).node);
        return node && 'messages' in node ? (node.messages as Part<MessageRowFragment>) : null;
      },
    };
    if (page.column === 'timestamp') return call.page(page, list);
    const all = await call.rows(list);
    return pageOf(all.rows, all.total, page);
  }

  async getCheckpointMessages(sessionId: string): Promise<types.ChatMessage[]> {
    return (await this.getSessionMessages(sessionId, { is_checkpoint: true }, { limit: Number.MAX_SAFE_INTEGER })).data;
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
    const call = await this.begin();
    return (await edits()).createFile(call, projectId, values);
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
    if (deleted.length > 0) await (await history()).addContents(call, deleted);
    return files;
  }

  /** Null for a folder that was never created, which has no row. */
  async getProjectFile(projectId: string, filePath: string): Promise<types.ProjectFile | null> {
    const row = (await ifThere(this.ask('file', { projectId, path: filePath })))?.project?.file;
    return row?.version ? rows.file(row) : null;
  }

  async updateProjectFile(
    projectId: string,
    values: { file_path: string; content: string; change_description?: string },
    sessionId?: string,
    ofMessage?: string,
  ): Promise<types.ProjectFile> {
    const { filePath: path, ...content } = inputOf(values, 'file_path! content! change_description');
    const input = { projectId, path, ...content, sessionId: id(sessionId), messageId: messageId(ofMessage) };
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
    const begin = this.pinned();
    const context = { session_id: sessionId, message_id: ofMessage, change_description: description };
    await (await transfer()).sync(begin, projectId, files, context);
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
    const input = { projectId, ...context, name: name || undefined, description: description || undefined };
    return (await history()).createSnapshot(call, input);
  }

  /** Newest first, with their files: a request each besides. */
  async getProjectSnapshots(projectId: string): Promise<types.ProjectSnapshot[]> {
    const call = await this.begin();
    return (await history()).projectSnapshots(call, projectId);
  }

  /** The state before becomes a snapshot named "Pre-restore backup". */
  async restoreProjectSnapshot(snapshotId: string): Promise<void> {
    await this.api.restoreSnapshot({ snapshotId }).catch((error) => inColumns(error));
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
    mustBeWhole('limit', limit, 0);
    const call = await this.begin();
    return (await history()).recentActivity(call, limit);
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
