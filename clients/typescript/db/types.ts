// The rows and arguments of the original service: its columns and names. Times are strings in RFC 3339.

/** An object that JSON can hold. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type JsonObject = Record<string, any>;

export type ProjectStatus = 'active' | 'archived' | 'deleted';
export type MessageRole = 'user' | 'assistant' | 'system';
export type FileType = 'file' | 'folder';
export type ChangeType = 'create' | 'update' | 'delete' | 'rename';

export interface UserProfile {
  id: string;
  email: string;
  full_name: string | null;
  avatar_url: string | null;
  created_at: string;
  updated_at: string;
}

export interface Project {
  id: string;
  user_id: string;
  name: string;
  description: string | null;
  initial_prompt: string;
  config: JsonObject;
  status: ProjectStatus;
  created_at: string;
  /** When its fields last changed or it was last opened. */
  updated_at: string;
  last_accessed_at: string;
}

export interface ProjectOverview extends Project {
  total_sessions: number | null;
  total_messages: number | null;
  total_files: number | null;
  latest_session_date: string | null;
  last_activity: string | null;
}

export interface ChatSession {
  id: string;
  project_id: string;
  user_id: string;
  title: string | null;
  started_at: string;
  ended_at: string | null;
  message_count: number;
  is_active: boolean;
  metadata: JsonObject;
}

export interface ChatMessage {
  id: string;
  session_id: string;
  user_id: string;
  role: MessageRole;
  content: string;
  timestamp: string;
  is_checkpoint: boolean;
  context_data: JsonObject;
  metadata: JsonObject;
}

export interface ProjectFile {
  id: string;
  project_id: string;
  file_path: string;
  file_name: string;
  file_type: FileType;
  content: string | null;
  language: string | null;
  size_bytes: number;
  version: number;
  parent_path: string | null;
  is_deleted: boolean;
  created_at: string;
  updated_at: string;
}

/** The state of a file before an edit or its deletion, with what is known of that. */
export interface FileSnapshot {
  id: string;
  file_id: string;
  project_id: string;
  session_id: string | null;
  message_id: string | null;
  content: string;
  version: number;
  change_description: string | null;
  diff_content: string | null;
  created_at: string;
  created_by_user_id: string | null;
}

export interface ProjectSnapshot {
  id: string;
  project_id: string;
  session_id: string | null;
  message_id: string | null;
  snapshot_name: string | null;
  description: string | null;
  files_data: { files: SnapshotFile[] };
  created_at: string;
  created_by_user_id: string | null;
}

export interface SnapshotFile {
  path: string;
  name: string;
  type: FileType;
  content: string | null;
  version: number;
}

export interface CodeChange {
  id: string;
  project_id: string;
  /** Empty for a change outside of any session. */
  session_id: string;
  /** Empty for a change that belongs to no message. */
  message_id: string;
  file_id: string;
  change_type: ChangeType;
  old_content: string | null;
  new_content: string | null;
  diff_content: string | null;
  line_changes: JsonObject | null;
  created_at: string;
}

export interface FileChangeHistory extends CodeChange {
  file_path: string;
  file_name: string;
  project_name: string;
  message_content: string | null;
  change_timestamp: string;
  created_by_user_id: string | null;
  created_by_user_name: string | null;
  change_description: string | null;
}

export interface RecentActivity {
  id: string;
  user_id: string;
  project_id: string;
  project_name: string;
  session_id: string;
  message_role: MessageRole;
  /** The first 200 characters. */
  message_content: string;
  timestamp: string;
  is_checkpoint: boolean;
}

export interface ProjectStats {
  project: Project | null;
  totalSessions: number;
  totalMessages: number;
  totalFiles: number;
  totalChanges: number;
  lastActivity: string | null;
}

export interface ProjectFilters {
  status?: ProjectStatus;
  search?: string;
  created_after?: string;
  created_before?: string;
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

export interface PageRequest {
  /** From 1. */
  page?: number;
  limit?: number;
  /** A column of the rows. */
  sort_by?: string;
  sort_order?: 'asc' | 'desc';
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

/** A file for `syncVirtualFileSystemToDatabase`. Without content a file that is there stays as it is. */
export interface VirtualFile {
  path: string;
  name: string;
  content?: string;
  type: FileType;
}

/** A message of a subscription. */
export interface LiveMessage extends ChatMessage {
  /** The revision that added it: the `afterRevision` to continue with. */
  revision: number;
}

/** One write to a project's files. */
export interface LiveCodeChange {
  project_id: string;
  revision: number;
  created_at: string;
  user_id: string | null;
  session_id: string | null;
  message_id: string | null;
  changes: {
    id: string;
    file_id: string;
    change_type: ChangeType;
    file_path: string;
    /** The path before a rename. */
    old_path: string | null;
    additions: number;
    deletions: number;
    change_description: string | null;
  }[];
}

export type ProjectEventKind =
  | 'project_created'
  | 'project_updated'
  | 'session_started'
  | 'session_ended'
  | 'message_added'
  | 'files_changed'
  | 'snapshot_created'
  | 'snapshot_updated'
  | 'snapshot_deleted'
  | 'project_restored'
  | 'collaborators_changed'
  | 'agent_configuration_changed';

export interface ProjectEvent {
  project_id: string;
  revision: number;
  kind: ProjectEventKind;
  created_at: string;
  user_id: string | null;
  session_id: string | null;
  /** The message that was added, or for which files were changed. */
  message: ChatMessage | null;
  snapshot_id: string | null;
}

/** A piece of a message's text. */
export interface MessageText {
  text: string;
  /** Where the text begins, in bytes of UTF-8. */
  offset: number;
  /** The `afterOffset` to continue with. */
  next_offset: number;
  state: 'streaming' | 'stalled' | 'finished' | 'discarded';
  /** The whole message once it is finished. */
  message: ChatMessage | null;
}

/** A subscriber of a project. */
export interface Presence {
  user_id: string;
  full_name: string | null;
  avatar_url: string | null;
  joined_at: string;
}

/** Bytes in any form that a request's body can have; by this name, `BodyInit`, only browsers' types know it. */
export type Bytes = NonNullable<ConstructorParameters<typeof Response>[0]>;

/** The bytes of a file. `Uint8Array` is generic since TypeScript 5.7 only, so this does not name its buffer. */
export type FileBytes = ReturnType<typeof Uint8Array.of>;

/** What a write to files belongs to. */
export interface WriteContext {
  session_id?: string | undefined;
  message_id?: string | undefined;
  change_description?: string | undefined;
}

/** The text of a message: its pieces as they come. A stream that is not iterable, as in Safari, is read as well. */
export type TextSource =
  | AsyncIterable<string>
  | Iterable<string>
  | { getReader(): { read(): Promise<{ done: boolean; value?: string | undefined }>; cancel(reason?: unknown): Promise<void> } };

/** How far the download of a project is: the server writes rows to a file, and then sends it. */
export interface ProjectProgress {
  rows: number;
  /** Null until the rows are counted. */
  totalRows: number | null;
  bytes: number;
  /** Null until the file is sent. */
  totalBytes: number | null;
}

export interface ProjectDownload {
  /** Is called at least once a second. */
  onProgress?: ((progress: ProjectProgress) => unknown) | undefined;
  /** Ends the download. */
  signal?: AbortSignal | undefined;
}

export interface WriteOptions {
  /** Discards the message. */
  signal?: AbortSignal | undefined;
}

/** A message that is written piece by piece. */
export interface MessageStart {
  session_id: string;
  role: MessageRole;
  is_checkpoint?: boolean | undefined;
  context_data?: JsonObject | undefined;
  metadata?: JsonObject | undefined;
}
