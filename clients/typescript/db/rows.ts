// The API's nodes as the original's rows.
import type {
  ChangeRowFragment,
  FileRowFragment,
  FileSnapshotRowFragment,
  MessageRowFragment,
  Operations,
  ProfileRowFragment,
  ProjectRowFragment,
  ProjectSnapshotRowFragment,
  SessionRowFragment,
  TotalsFragment,
} from './documents.js';
import type * as types from './types.js';

const lower = <T extends string>(name: T) => name.toLowerCase() as Lowercase<T>;

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
  visibility: 'private',
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

/** The state that an edit found. Without an edit it is the present state, with what is known of the write that made it. */
export const fileSnapshot = (state: FileSnapshotRowFragment, edit = state): types.FileSnapshot => ({
  id: state.id,
  file_id: state.file.id,
  project_id: state.file.project.id,
  session_id: edit.session?.id ?? null,
  message_id: edit.message?.id ?? null,
  content: state.content ?? '',
  version: state.version,
  change_description: edit.changeDescription ?? null,
  diff_content: edit.diff ?? null,
  created_at: edit.createdAt,
  created_by_user_id: edit.createdBy?.id ?? null,
});

export const projectSnapshot = (row: ProjectSnapshotRowFragment, files: types.SnapshotFile[]): types.ProjectSnapshot => ({
  id: row.id,
  project_id: row.project.id,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  snapshot_name: row.name ?? null,
  description: row.description ?? null,
  files_data: { files },
  created_at: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
});

export const change = (of: { id: string; name: string }) => (row: ChangeRowFragment): types.FileChangeHistory => ({
  id: row.id,
  project_id: of.id,
  session_id: row.session?.id ?? '',
  message_id: row.message?.id ?? '',
  file_id: row.file.id,
  change_type: lower(row.type),
  old_content: row.oldContent ?? null,
  new_content: row.newContent ?? null,
  diff_content: row.diff ?? null,
  line_changes: (row.lineChanges ?? null) as types.JsonObject | null,
  created_at: row.createdAt,
  file_path: row.path,
  file_name: row.file.name,
  project_name: of.name,
  message_content: row.message?.content ?? null,
  change_timestamp: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
  created_by_user_name: row.createdBy?.fullName ?? null,
  change_description: row.changeDescription ?? null,
});

type Activity = NonNullable<Operations['RecentActivity'][0]['recentActivity']>['nodes'][number];

export const activity = (row: Activity): types.RecentActivity => ({
  id: row.message.id,
  user_id: row.author.id,
  user_name: row.author.fullName ?? null,
  project_id: row.project.id,
  project_name: row.project.name,
  session_id: row.message.session.id,
  message_role: lower(row.message.role),
  message_content: row.excerpt,
  timestamp: row.message.createdAt,
  is_checkpoint: row.message.isCheckpoint,
  context_data: row.message.contextData as types.JsonObject,
  metadata: row.message.metadata as types.JsonObject,
});

export const liveCodeChange = (row: Operations['OnCodeChange'][0]['codeChanged'], projectId: string): types.LiveCodeChange => ({
  project_id: projectId,
  revision: row.revision,
  created_at: row.createdAt,
  user_id: row.actor?.id ?? null,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  changes: row.changes.map((change) => ({
    id: change.id,
    file_id: change.file.id,
    change_type: lower(change.type),
    file_path: change.path,
    old_path: change.oldPath ?? null,
    additions: change.additions,
    deletions: change.deletions,
    change_description: change.changeDescription ?? null,
  })),
});

export const projectEvent = (row: Operations['OnProjectEvent'][0]['projectEvents'], projectId: string): types.ProjectEvent => ({
  project_id: projectId,
  revision: row.revision,
  kind: lower(row.kind),
  created_at: row.createdAt,
  user_id: row.actor?.id ?? null,
  session_id: row.session?.id ?? null,
  message: row.message ? message(row.message) : null,
  snapshot_id: row.snapshot?.id ?? null,
});

export const messageText = (row: Operations['OnMessageText'][0]['messageStream']): types.MessageText => ({
  text: row.text,
  offset: row.offset,
  next_offset: row.nextOffset,
  state: lower(row.state),
  message: row.message ? message(row.message) : null,
});

export const presence = ({ joinedAt, user }: Operations['OnPresence'][0]['presence'][number]): types.Presence => ({
  user_id: user.id,
  full_name: user.fullName ?? null,
  avatar_url: user.avatarUrl ?? null,
  joined_at: joinedAt,
});
