// The signatures that existing callers of the database service rely on, from its documentation: the compiler checks
// that they and the package's are assignable to each other.
import { DatabaseService, db } from 'antiphon-db';

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = Record<string, any>;
type Status = 'active' | 'archived' | 'deleted';
type Page<Row> = {
  data: Row[];
  pagination: { page: number; limit: number; total: number; total_pages: number; has_next: boolean; has_prev: boolean };
};
type Pagination = { page?: number; limit?: number; sort_by?: string; sort_order?: 'asc' | 'desc' };

type Profile = {
  id: string; email: string; full_name: string | null; avatar_url: string | null; created_at: string; updated_at: string;
};
type Project = {
  id: string; user_id: string; name: string; description: string | null; initial_prompt: string; config: Json;
  status: Status; created_at: string; updated_at: string; last_accessed_at: string;
};
type Overview = Project & {
  total_sessions: number | null; total_messages: number | null; total_files: number | null;
  latest_session_date: string | null; last_activity: string | null;
};
type Session = {
  id: string; project_id: string; user_id: string; title: string | null; started_at: string; ended_at: string | null;
  message_count: number; is_active: boolean; metadata: Json;
};
type Message = {
  id: string; session_id: string; user_id: string; role: 'user' | 'assistant' | 'system'; content: string; timestamp: string;
  is_checkpoint: boolean; context_data: Json; metadata: Json;
};
type File = {
  id: string; project_id: string; file_path: string; file_name: string; file_type: 'file' | 'folder'; content: string | null;
  language: string | null; size_bytes: number; version: number; parent_path: string | null; is_deleted: boolean;
  created_at: string; updated_at: string;
};
type FileSnapshot = {
  id: string; file_id: string; project_id: string; session_id: string | null; message_id: string | null; content: string;
  version: number; change_description: string | null; diff_content: string | null; created_at: string;
  created_by_user_id: string | null;
};
type ProjectSnapshot = {
  id: string; project_id: string; session_id: string | null; message_id: string | null; snapshot_name: string | null;
  description: string | null; created_at: string; created_by_user_id: string | null;
  files_data: { files: { path: string; name: string; type: 'file' | 'folder'; content: string | null; version: number }[] };
};
type CodeChange = {
  id: string; project_id: string; session_id: string; message_id: string; file_id: string;
  change_type: 'create' | 'update' | 'delete' | 'rename'; old_content: string | null; new_content: string | null;
  diff_content: string | null; line_changes: Json | null; created_at: string;
};
type History = CodeChange & {
  file_path: string; file_name: string; project_name: string; message_content: string | null; change_timestamp: string;
  created_by_user_id: string | null; created_by_user_name: string | null; change_description: string | null;
};
type Activity = {
  id: string; user_id: string; project_id: string; project_name: string; session_id: string;
  message_role: 'user' | 'assistant' | 'system'; message_content: string; timestamp: string; is_checkpoint: boolean;
};
type Stats = {
  project: Project | null; totalSessions: number; totalMessages: number; totalFiles: number; totalChanges: number;
  lastActivity: string | null;
};

export interface Original {
  getCurrentUser(): Promise<{ id: string; email: string } | null>;
  getCurrentUserId(): Promise<string>;
  createUserProfile(profile: Omit<Profile, 'created_at' | 'updated_at'>): Promise<Profile>;
  getUserProfile(userId?: string): Promise<Profile | null>;
  updateUserProfile(values: Partial<Omit<Profile, 'id' | 'created_at'>>): Promise<Profile>;
  createProject(values: { name: string; description?: string; initial_prompt: string; config: Json }): Promise<Project>;
  getProject(projectId: string): Promise<Project | null>;
  getUserProjects(
    filters?: { status?: Status; search?: string; created_after?: string; created_before?: string },
    pagination?: Pagination,
  ): Promise<Page<Overview>>;
  updateProject(projectId: string, values: Partial<Omit<Project, 'id' | 'created_at'>>): Promise<Project>;
  updateProjectAccess(projectId: string): Promise<void>;
  deleteProject(projectId: string): Promise<void>;
  createChatSession(values: { project_id: string; title?: string }): Promise<Session>;
  getChatSession(sessionId: string): Promise<Session | null>;
  getActiveSession(projectId: string): Promise<Session | null>;
  endChatSession(sessionId: string): Promise<Session>;
  getProjectChatSessions(
    projectId: string,
    filters?: { is_active?: boolean; started_after?: string; started_before?: string },
    pagination?: Pagination,
  ): Promise<Page<Session>>;
  createChatMessage(values: {
    session_id: string; role: 'user' | 'assistant'; content: string; is_checkpoint?: boolean; context_data?: Json; metadata?: Json;
  }): Promise<Message>;
  getSessionMessages(
    sessionId: string,
    filters?: {
      role?: 'user' | 'assistant' | 'system'; is_checkpoint?: boolean; search?: string; timestamp_after?: string;
      timestamp_before?: string;
    },
    pagination?: Pagination,
  ): Promise<Page<Message>>;
  getCheckpointMessages(sessionId: string): Promise<Message[]>;
  createProjectFile(
    projectId: string,
    values: {
      file_path: string; file_name: string; file_type: 'file' | 'folder'; content?: string; language?: string; parent_path?: string;
    },
  ): Promise<File>;
  getProjectFiles(projectId: string, includeDeleted?: boolean): Promise<File[]>;
  getProjectFile(projectId: string, filePath: string): Promise<File | null>;
  updateProjectFile(
    projectId: string,
    values: { file_path: string; content: string; change_description?: string },
    sessionId?: string,
    messageId?: string,
  ): Promise<File>;
  deleteProjectFile(projectId: string, filePath: string): Promise<void>;
  createFileSnapshot(values: Omit<FileSnapshot, 'id' | 'created_at'>): Promise<FileSnapshot>;
  getFileSnapshots(fileId: string): Promise<FileSnapshot[]>;
  revertFileToSnapshot(fileId: string, snapshotId: string): Promise<File>;
  createProjectSnapshot(
    projectId: string, sessionId?: string, messageId?: string, name?: string, description?: string,
  ): Promise<ProjectSnapshot>;
  getProjectSnapshots(projectId: string): Promise<ProjectSnapshot[]>;
  restoreProjectSnapshot(snapshotId: string): Promise<void>;
  createCodeChange(values: Omit<CodeChange, 'id' | 'created_at'>): Promise<CodeChange>;
  getProjectCodeChanges(projectId: string): Promise<History[]>;
  getRecentActivity(limit?: number): Promise<Activity[]>;
  getProjectStats(projectId: string): Promise<Stats>;
  syncVirtualFileSystemToDatabase(
    projectId: string,
    sessionId: string,
    messageId: string,
    files: { path: string; name: string; content?: string; type: 'file' | 'folder' }[],
    description?: string,
  ): Promise<void>;
}

declare const theirs: Original;
export const made: Original = new DatabaseService();
export const instance: Original = db;
export const ours: Pick<DatabaseService, keyof Original> = theirs;

// Parameters and results of each method, without the bivariance of methods.
type Strict<T> = { [K in keyof T]: T[K] extends (...args: infer A) => infer R ? [(args: A) => void, R] : never };
type Wide<A, B> = Strict<A> extends Strict<B> ? true : { [K in keyof A & keyof B]: Strict<A>[K] extends Strict<B>[K] ? never : K };
export const takesAllThatTheirsTook: Wide<Pick<DatabaseService, keyof Original>, Original> = true;
