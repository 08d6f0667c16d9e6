// The API's nodes as the original's rows.
import { AntiphonError } from './connection.js';
import type {
  FileRowFragment,
  MessageRowFragment,
  Operations,
  ProfileRowFragment,
  ProjectRowFragment,
  SessionRowFragment,
  TotalsFragment,
} from './documents.js';
import type * as types from './types.js';

/** What was asked of something that must be there. */
export function found<T>(value: T | null | undefined, noun: string): T {
  if (value === null || value === undefined) {
    throw new AntiphonError(`There is no such ${noun}.`, { code: 'NOT_FOUND' });
  }
  return value;
}

/** A node of the kind that was asked for: of another kind none of its fields is there. */
export function ofKind<T extends object>(node: T | null | undefined | Record<string, never>): T | null {
  return node && Object.keys(node).length > 0 ? (node as T) : null;
}

export const lower = <T extends string>(name: T) => name.toLowerCase() as Lowercase<T>;

export const profile = (row: ProfileRowFragment): types.UserProfile => ({
  id: row.id,
  email: row.email ?? '',
  full_name: row.fullName || null,
  avatar_url: row.avatarUrl || null,
  created_at: row.createdAt,
  updated_at: row.updatedAt,
});

export const project = (row: ProjectRowFragment): types.Project => ({
  id: row.id,
  user_id: row.owner.id,
  name: row.name,
  description: row.description ?? null,
  initial_prompt: row.initialPrompt,
  config: row.config as types.JsonObject,
  status: lower(row.status),
  created_at: row.createdAt,
  // There, opening a project updated its row.
  updated_at: row.updatedAt > row.lastAccessedAt ? row.updatedAt : row.lastAccessedAt,
  last_accessed_at: row.lastAccessedAt,
});

export const overview = (row: ProjectRowFragment & TotalsFragment): types.ProjectOverview => ({
  ...project(row),
  total_sessions: row.stats.totalSessions,
  total_messages: row.stats.totalMessages,
  total_files: row.stats.totalFiles,
  latest_session_date: row.stats.latestSessionAt ?? null,
  last_activity: row.stats.lastActivityAt,
});

export const session = (row: SessionRowFragment): types.ChatSession => ({
  id: row.id,
  project_id: row.project.id,
  user_id: row.author.id,
  title: row.title ?? null,
  started_at: row.startedAt,
  ended_at: row.endedAt ?? null,
  message_count: row.messageCount,
  is_active: row.isActive,
  metadata: row.metadata as types.JsonObject,
});

export const message = (row: MessageRowFragment): types.ChatMessage => ({
  id: row.id,
  session_id: row.session.id,
  user_id: row.author.id,
  role: lower(row.role),
  content: row.content,
  timestamp: row.createdAt,
  is_checkpoint: row.isCheckpoint,
  context_data: row.contextData as types.JsonObject,
  metadata: row.metadata as types.JsonObject,
});

export const file = (row: FileRowFragment): types.ProjectFile => ({
  id: row.id,
  project_id: row.project.id,
  file_path: row.path,
  file_name: row.name,
  file_type: lower(row.type),
  content: row.content ?? null,
  language: row.language ?? null,
  size_bytes: row.sizeBytes,
  version: row.version,
  parent_path: row.parentPath ?? null,
  is_deleted: row.isDeleted,
  created_at: row.createdAt,
  updated_at: row.updatedAt,
});

export const revision = ({ project }: Operations['Revision'][0]) => found(project, 'project').revision;
