// The original service's `db`, over GraphQL: the same calls, arguments and rows. Every call throws an `AntiphonError` where the
// server refuses it; what is not there is null.
import { type Operations, texts } from './generated.js';
import type {
  ChangeRowFragment,
  FileRowFragment,
  FileSnapshotRowFragment,
  MessageRowFragment,
  PageEndFragment,
  ProfileRowFragment,
  ProjectRowFragment,
  ProjectSnapshotRowFragment,
  SessionRowFragment,
  TotalsFragment,
} from './generated.js';

/** A value that JSON can hold. */
export type Json = unknown;

/** Where the server is, and who asks. */
export interface Connection {
  /** The GraphQL endpoint; `/graphql` of the page's own host by default. */
  url: string;
  /** The user's access token (Supabase: `session.access_token`), asked for anew for each call. */
  token: () => string | null | undefined | Promise<string | null | undefined>;
  /** What to fetch with; the global `fetch` by default. */
  fetch: typeof fetch;
}

/** Why the server refused a call. */
export class AntiphonError extends Error {
  /** One of the API's codes, such as `NOT_FOUND`, `BAD_USER_INPUT` or `CONFLICT`. */
  readonly code: string;
  /** All that the server says besides: `field`, `currentVersion` and so on. */
  readonly extensions: Record<string, Json>;

  constructor(message: string, extensions: Record<string, Json> = {}) {
    super(message);
    this.name = 'AntiphonError';
    this.code = typeof extensions.code === 'string' ? extensions.code : 'INTERNAL';
    this.extensions = extensions;
  }
}

export interface PageRequest {
  /** From 1. */
  page?: number;
  limit?: number;
}

export interface Paginated<Row> {
  data: Row[];
  pagination: {
    page: number;
    limit: number;
    total: number;
    total_pages: number;
    has_next: boolean;
    has_prev: boolean;
  };
}

export type ProjectStatus = 'active' | 'archived' | 'deleted';
export type MessageRole = 'user' | 'assistant' | 'system';
export type FileType = 'file' | 'folder';

export interface ProjectFilters {
  status?: ProjectStatus;
  search?: string;
  created_after?: string;
  created_before?: string;
}

export interface ProjectPageRequest extends PageRequest {
  sort_by?: 'name' | 'created_at' | 'updated_at' | 'last_accessed_at' | 'last_activity';
  sort_order?: 'asc' | 'desc';
}

export interface SessionFilters {
  is_active?: boolean;
  started_after?: string;
  started_before?: string;
}

export interface MessageFilters {
  role?: MessageRole;
  is_checkpoint?: boolean;
  search?: string;
  timestamp_after?: string;
  timestamp_before?: string;
}

/** A file for `syncVirtualFileSystemToDatabase`. */
export interface VirtualFile {
  path: string;
  name: string;
  content?: string | null;
  type: FileType;
}

/** The most rows that a page of the API has. */
const LIST = 100;
const FILES = 500;
/** Rows with their texts are heavy: fewer at once. */
const TEXTS = 50;

type Variables = Record<string, Json>;
type Part<Node> = { nodes?: Node[]; totalCount?: number; pageInfo: PageEndFragment } | null | undefined;

const lower = <T extends string>(name: T) => name.toLowerCase() as Lowercase<T>;
const upper = <T extends string>(name: T) => name.toUpperCase() as Uppercase<T>;

const profile = (row: ProfileRowFragment) => ({
  id: row.id,
  email: row.email,
  full_name: row.fullName,
  avatar_url: row.avatarUrl,
  created_at: row.createdAt,
  updated_at: row.updatedAt,
});

const project = (row: ProjectRowFragment) => ({
  id: row.id,
  user_id: row.owner.id,
  name: row.name,
  description: row.description,
  initial_prompt: row.initialPrompt,
  config: row.config,
  status: lower(row.status),
  created_at: row.createdAt,
  updated_at: row.updatedAt,
  last_accessed_at: row.lastAccessedAt,
});

const overview = (row: ProjectRowFragment & TotalsFragment) => ({
  ...project(row),
  total_sessions: row.stats.totalSessions,
  total_messages: row.stats.totalMessages,
  total_files: row.stats.totalFiles,
  latest_session_date: row.stats.latestSessionAt,
  last_activity: row.stats.lastActivityAt,
});

const session = (row: SessionRowFragment) => ({
  id: row.id,
  project_id: row.project.id,
  user_id: row.author.id,
  title: row.title,
  started_at: row.startedAt,
  ended_at: row.endedAt,
  message_count: row.messageCount,
  is_active: row.isActive,
  metadata: row.metadata,
});

const message = (row: MessageRowFragment) => ({
  id: row.id,
  session_id: row.session.id,
  user_id: row.author.id,
  role: lower(row.role),
  content: row.content,
  timestamp: row.timestamp,
  is_checkpoint: row.isCheckpoint,
  context_data: row.contextData,
  metadata: row.metadata,
});

const file = (row: FileRowFragment) => ({
  id: row.id,
  project_id: row.project.id,
  file_path: row.path,
  file_name: row.name,
  file_type: lower(row.type),
  content: row.content,
  language: row.language,
  size_bytes: row.sizeBytes,
  version: row.version,
  parent_path: row.parentPath,
  is_deleted: row.isDeleted,
  created_at: row.createdAt,
  updated_at: row.updatedAt,
});

const fileSnapshot = (row: FileSnapshotRowFragment) => ({
  id: row.id,
  file_id: row.file.id,
  project_id: row.file.project.id,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  content: row.content,
  version: row.version,
  change_description: row.changeDescription,
  diff_content: row.diff,
  created_at: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
});

const projectSnapshot = (row: ProjectSnapshotRowFragment) => ({
  id: row.id,
  project_id: row.project.id,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  snapshot_name: row.name,
  description: row.description,
  created_at: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
});

const change = (of: { id: string; name: string }) => (row: ChangeRowFragment) => ({
  id: row.id,
  project_id: of.id,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  file_id: row.file.id,
  change_type: lower(row.type),
  old_content: row.oldContent,
  new_content: row.newContent,
  diff_content: row.diff,
  line_changes: row.lineChanges,
  created_at: row.createdAt,
  file_path: row.path,
  file_name: row.file.name,
  project_name: of.name,
  message_content: row.message?.content ?? null,
  change_timestamp: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
  created_by_user_name: row.createdBy?.fullName ?? null,
  change_description: row.changeDescription,
});

/** What was asked of something that must be there. */
function found<T>(value: T | null | undefined, noun: string): T {
  if (value === null || value === undefined) {
    throw new AntiphonError(`There is no such ${noun}.`, { code: 'NOT_FOUND' });
  }
  return value;
}

/** A node of the kind that was asked for: of another kind none of its fields is there. */
function ofKind<T extends object>(node: T | null | undefined | Record<string, never>): T | null {
  return node && Object.keys(node).length > 0 ? (node as T) : null;
}

export class Database {
  #connection: Connection = { url: '/graphql', token: () => null, fetch: (...request) => fetch(...request) };

  /** Says where the server is and who asks, once, before the first call. */
  connect(connection: Partial<Connection>): this {
    this.#connection = { ...this.#connection, ...connection };
    return this;
  }

  // ── profiles ──

  /** The first sign-in has made the profile; this fills it. */
  async createUserProfile(values: { full_name?: string | null; avatar_url?: string | null }) {
    return this.updateUserProfile(values);
  }

  /** The caller's, or that of somebody whom they share a project with. */
  async getUserProfile(userId?: string) {
    if (userId === undefined) return profile((await this.#ask('Profile', {})).viewer);
    const row = ofKind((await this.#ask('ProfileOf', { id: userId })).node);
    return row && 'id' in row ? profile(row) : null;
  }

  async updateUserProfile(values: { full_name?: string | null; avatar_url?: string | null }) {
    const input = given({ fullName: values.full_name, avatarUrl: values.avatar_url });
    return profile((await this.#ask('UpdateProfile', { input })).updateProfile);
  }

  // ── projects ──

  async createProject(values: { name: string; description?: string | null; initial_prompt: string; config: Json }) {
    const { name, description, initial_prompt: initialPrompt, config } = values;
    const input = { name, initialPrompt, config, ...given({ description }) };
    return project((await this.#ask('CreateProject', { input })).createProject.project);
  }

  async getProject(projectId: string) {
    const row = (await this.#ask('Project', { id: projectId })).project;
    return row ? overview(row) : null;
  }

  async updateProject(
    projectId: string,
    values: { name?: string; description?: string | null; initial_prompt?: string; config?: Json; status?: ProjectStatus },
  ) {
    const { name, description, initial_prompt: initialPrompt, config, status } = values;
    const changes = given({ name, description, initialPrompt, config, status: status && upper(status) });
    const input = { id: projectId, ...changes };
    return project((await this.#ask('UpdateProject', { input })).updateProject.project);
  }

  /** Notes that the project has been opened. */
  async updateProjectAccess(projectId: string) {
    return project((await this.#ask('TouchProject', { id: projectId })).touchProject.project);
  }

  async deleteProject(projectId: string) {
    return project((await this.#ask('DeleteProject', { id: projectId })).deleteProject.project);
  }

  async getUserProjects(filters: ProjectFilters = {}, pagination: ProjectPageRequest = {}) {
    const { status, search, created_after: createdAfter, created_before: createdBefore } = filters;
    const filter = given({ status: status && upper(status), search, createdAfter, createdBefore });
    const field = pagination.sort_by === 'last_activity' ? 'LAST_ACTIVITY_AT' : upper(pagination.sort_by ?? 'updated_at');
    const orderBy = { field, direction: upper(pagination.sort_order ?? 'desc') };
    return this.#page(pagination, 20, LIST, overview, async (part) => {
      return (await this.#ask('Projects', { filter, orderBy, ...part })).projects;
    });
  }

  // ── sessions and messages ──

  /** Ends the caller's active session of the project, then starts one. */
  async createChatSession(values: { project_id: string; title?: string | null; metadata?: Json }) {
    const input = { projectId: values.project_id, ...given({ title: values.title, metadata: values.metadata }) };
    return session((await this.#ask('StartSession', { input })).startSession.session);
  }

  async getChatSession(sessionId: string) {
    const row = ofKind((await this.#ask('Session', { id: sessionId })).node);
    return row && 'id' in row ? session(row) : null;
  }

  async getActiveSession(projectId: string) {
    const row = (await this.#ask('ActiveSession', { id: projectId })).project?.activeSession;
    return row ? session(row) : null;
  }

  async endChatSession(sessionId: string) {
    return session((await this.#ask('EndSession', { id: sessionId })).endSession.session);
  }

  async getProjectChatSessions(projectId: string, filters: SessionFilters = {}, pagination: PageRequest = {}) {
    const { is_active: isActive, started_after: startedAfter, started_before: startedBefore } = filters;
    const filter = given({ isActive, startedAfter, startedBefore });
    return this.#page(pagination, 20, LIST, session, async (part) => {
      return found((await this.#ask('Sessions', { id: projectId, filter, ...part })).project, 'project').sessions;
    });
  }

  /** An assistant's message with `is_checkpoint` makes a snapshot of the project. */
  async createChatMessage(values: {
    session_id: string;
    role: MessageRole;
    content: string;
    is_checkpoint?: boolean;
    context_data?: Json;
    metadata?: Json;
  }) {
    const { session_id: sessionId, role, content } = values;
    const { is_checkpoint: isCheckpoint, context_data: contextData, metadata } = values;
    const input = { sessionId, role: upper(role), content, ...given({ isCheckpoint, contextData, metadata }) };
    return message((await this.#ask('AddMessage', { input })).addMessage.message);
  }

  async getSessionMessages(sessionId: string, filters: MessageFilters = {}, pagination: PageRequest = {}) {
    const { role, is_checkpoint: isCheckpoint, search, timestamp_after: after, timestamp_before: before } = filters;
    const filter = given({ role: role && upper(role), isCheckpoint, search, after, before });
    return this.#page(pagination, 50, FILES, message, async (part) => {
      const node = ofKind((await this.#ask('Messages', { id: sessionId, filter, ...part })).node);
      return found(node && 'messages' in node ? node.messages : null, 'session');
    });
  }

  async getCheckpointMessages(sessionId: string) {
    const node = ofKind((await this.#ask('Checkpoints', { id: sessionId })).node);
    return found(node && 'checkpoints' in node ? node.checkpoints : null, 'session').map(message);
  }

  // ── files ──

  /** The name and the folder are those of the path, whatever else is given. */
  async createProjectFile(
    projectId: string,
    values: {
      file_path: string;
      file_name?: string;
      file_type?: FileType;
      content?: string | null;
      language?: string | null;
      parent_path?: string | null;
    },
  ) {
    const { file_path: path, file_type: type, content, language } = values;
    const input = { projectId, path, type: upper(type ?? 'file'), ...given({ content, language }) };
    return file((await this.#ask('CreateFile', { input })).createFile.file);
  }

  async getProjectFiles(projectId: string, includeDeleted = false) {
    return this.#all(FILES, file, async (part) => {
      return found((await this.#ask('Files', { id: projectId, includeDeleted, ...part })).project, 'project').files;
    });
  }

  async getProjectFile(projectId: string, path: string) {
    const row = (await this.#ask('File', { id: projectId, path })).project?.file;
    return row ? file(row) : null;
  }

  async updateProjectFile(
    projectId: string,
    values: { file_path: string; content: string; change_description?: string | null },
    sessionId?: string | null,
    messageId?: string | null,
  ) {
    const { file_path: path, content, change_description: changeDescription } = values;
    const input = { projectId, path, content, ...given({ changeDescription, sessionId, messageId }) };
    return file((await this.#ask('UpdateFile', { input })).updateFile.file);
  }

  async deleteProjectFile(projectId: string, path: string) {
    return file((await this.#ask('DeleteFile', { input: { projectId, path } })).deleteFile.file);
  }

  /** Every write has made one already: answers that of the version named, or of the present one. */
  async createFileSnapshot(values: { file_id: string; version?: number }) {
    const snapshots = await this.getFileSnapshots(values.file_id);
    const snapshot = snapshots.find(({ version }) => values.version === undefined || version === values.version);
    return found(snapshot, 'version');
  }

  /** Every version of a file, the present one first. */
  async getFileSnapshots(fileId: string) {
    return this.#all(TEXTS, fileSnapshot, async (part) => {
      const node = ofKind((await this.#ask('FileSnapshots', { id: fileId, ...part })).node);
      return found(node && 'versions' in node ? node.versions : null, 'file');
    });
  }

  async revertFileToSnapshot(fileId: string, snapshotId: string) {
    return file((await this.#ask('RevertFile', { input: { fileId, snapshotId } })).revertFile.file);
  }

  /** Creates what is new and updates what differs, all of it or nothing; folders are those of the paths. */
  async syncVirtualFileSystemToDatabase(
    projectId: string,
    sessionId: string | null,
    messageId: string | null,
    files: VirtualFile[],
    description?: string,
  ) {
    const real = files.filter(({ type }) => type !== 'folder');
    const inputs = real.map(({ path, content }) => ({ path, content: content ?? '' }));
    const input = { projectId, files: inputs, ...given({ sessionId, messageId, changeDescription: description }) };
    return (await this.#ask('SyncFiles', { input })).syncFiles;
  }

  // ── snapshots and changes ──

  async createProjectSnapshot(
    projectId: string,
    sessionId?: string | null,
    messageId?: string | null,
    name?: string | null,
    description?: string | null,
  ) {
    const input = { projectId, ...given({ sessionId, messageId, name, description }) };
    return projectSnapshot((await this.#ask('CreateSnapshot', { input })).createSnapshot.snapshot);
  }

  /** Newest first. Their files are read by `getProjectFiles` after a restore, or over GraphQL at any time. */
  async getProjectSnapshots(projectId: string) {
    return this.#all(LIST, projectSnapshot, async (part) => {
      return found((await this.#ask('Snapshots', { id: projectId, ...part })).project, 'project').snapshots;
    });
  }

  /** Answers the snapshot of the state before, named "Pre-restore backup". */
  async restoreProjectSnapshot(snapshotId: string) {
    return projectSnapshot((await this.#ask('RestoreSnapshot', { input: { snapshotId } })).restoreSnapshot.backup);
  }

  /** Every write has recorded its change already: answers the newest of the file's. */
  async createCodeChange(values: { project_id: string; file_id: string }) {
    const variables = { id: values.project_id, filter: { fileId: values.file_id }, first: 1 };
    const of = found((await this.#ask('Changes', variables)).project, 'project');
    return found(of.changes.nodes.map(change(of))[0], 'change');
  }

  /** Newest first. */
  async getProjectCodeChanges(projectId: string) {
    let of = { id: projectId, name: '' };
    return this.#all(TEXTS, (row: ChangeRowFragment) => change(of)(row), async (part) => {
      const found_ = found((await this.#ask('Changes', { id: projectId, ...part })).project, 'project');
      of = found_;
      return found_.changes;
    });
  }

  // ── analytics ──

  /** The newest messages of the caller's active projects. */
  async getRecentActivity(limit = 20) {
    const rows: ReturnType<typeof activity>[] = [];
    let after: string | null = null;
    while (rows.length < limit) {
      const first = Math.min(limit - rows.length, LIST);
      const part: Operations['RecentActivity'][0]['recentActivity'] =
        (await this.#ask('RecentActivity', { first, after })).recentActivity;
      rows.push(...part.nodes.map(activity));
      if (!part.pageInfo.hasNextPage) break;
      after = part.pageInfo.endCursor ?? null;
    }
    return rows;
  }

  async getProjectStats(projectId: string) {
    const row = found((await this.#ask('Project', { id: projectId })).project, 'project');
    return {
      project: project(row),
      totalSessions: row.stats.totalSessions,
      totalMessages: row.stats.totalMessages,
      totalFiles: row.stats.totalFiles,
      totalChanges: row.stats.totalChanges,
      lastActivity: row.stats.lastActivityAt,
    };
  }

  // ── the way there ──

  async #ask<Name extends keyof Operations>(name: Name, variables: Variables): Promise<Operations[Name][0]> {
    const { url, token, fetch } = this.#connection;
    const bearer = await token();
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/graphql-response+json, application/json',
        ...(bearer ? { Authorization: `Bearer ${bearer}` } : {}),
      },
      body: JSON.stringify({ query: texts[name], variables }),
    });
    const text = await response.text();
    let answer: { data?: Operations[Name][0] | null; errors?: { message: string; extensions?: Record<string, Json> }[] };
    try {
      answer = JSON.parse(text);
    } catch {
      throw new AntiphonError(`The server answered ${response.status} without GraphQL.`);
    }
    const problem = answer.errors?.[0];
    if (problem) throw new AntiphonError(problem.message, problem.extensions);
    if (!answer.data) throw new AntiphonError(`The server answered ${response.status} without data.`);
    return answer.data;
  }

  /** The whole of a list. */
  async #all<Node, Row>(size: number, row: (node: Node) => Row, ask: (part: Variables) => Promise<Part<Node>>) {
    const rows: Row[] = [];
    let after: string | null = null;
    for (;;) {
      const part: Part<Node> = await ask({ first: size, after });
      rows.push(...(part?.nodes ?? []).map((node) => row(node)));
      if (!part?.pageInfo.hasNextPage) return rows;
      after = part.pageInfo.endCursor ?? null;
    }
  }

  /**
   * A page by its number. Lists are asked for by cursors: what comes before the page is walked over without its rows, `size` of
   * them a request, so the far pages of a long list cost more than the near ones.
   */
  async #page<Node, Row>(
    { page = 1, limit }: PageRequest,
    usual: number,
    size: number,
    row: (node: Node) => Row,
    ask: (part: Variables) => Promise<Part<Node>>,
  ): Promise<Paginated<Row>> {
    const length = Math.max(1, Math.trunc(limit ?? usual));
    const number = Math.max(1, Math.trunc(page));
    let after: string | null = null;
    let isOver = false;
    for (let left = (number - 1) * length; left > 0 && !isOver; left -= size) {
      const part: Part<Node> = await ask({ first: Math.min(left, size), after, rows: false });
      isOver = !part?.pageInfo.hasNextPage;
      after = part?.pageInfo.endCursor ?? after;
    }
    const data: Row[] = [];
    let total = 0;
    do {
      const part: Part<Node> = await ask({ first: Math.min(length - data.length, size), after, rows: true });
      total = part?.totalCount ?? 0;
      if (isOver) break;
      data.push(...(part?.nodes ?? []).map((node) => row(node)));
      isOver = !part?.pageInfo.hasNextPage;
      after = part?.pageInfo.endCursor ?? after;
    } while (data.length < length && !isOver);
    const pages = Math.ceil(total / length);
    const pagination = {
      page: number,
      limit: length,
      total,
      total_pages: pages,
      has_next: number < pages,
      has_prev: number > 1,
    };
    return { data, pagination };
  }
}

const activity = (row: Operations['RecentActivity'][0]['recentActivity']['nodes'][number]) => ({
  ...message(row.message),
  user_id: row.author.id,
  user_name: row.author.fullName,
  project_id: row.project.id,
  project_name: row.project.name,
  content: row.excerpt,
});

/** The values that were given. Null is one: it takes away what was there. */
function given(values: Variables): Variables {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** The one that a page needs. */
export const db = new Database();
