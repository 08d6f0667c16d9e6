// The past: messages of all projects, states of files before edits, changes, and snapshots of projects.
import { inputOf, messageId } from './arguments.js';
import { type Call, fitting, type List, refuse } from './connection.js';
import type { ChangeRowFragment, FileSnapshotRowFragment, Operations, ProjectSnapshotRowFragment } from './documents.js';
import { texts } from './history-texts.js';
import { file, found, lower, ofKind } from './rows.js';
import type * as types from './types.js';

/** The most rows of a page: snapshots, messages, files of a snapshot, and versions with their texts. */
const SNAPSHOTS = 100;
const MESSAGES = 100;
const FILES = 500;
const TEXTS = 50;

const ask = <Name extends keyof Operations>(call: Call, name: Name, variables: Record<string, unknown>) =>
  call.ask(name, variables, texts);

/** The state that an edit found. Without an edit it is the present state, with what is known of the write that made it. */
const fileSnapshotRow = (state: FileSnapshotRowFragment, edit = state): types.FileSnapshot => ({
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

const projectSnapshotRow = (row: ProjectSnapshotRowFragment, files: types.SnapshotFile[]): types.ProjectSnapshot => ({
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

const changeRow = (row: ChangeRowFragment, of: { id: string; name: string }): types.FileChangeHistory => ({
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
  file_name: row.path.slice(row.path.lastIndexOf('/') + 1),
  project_name: of.name,
  message_content: row.message?.content ?? null,
  change_timestamp: row.createdAt,
  created_by_user_id: row.createdBy?.id ?? null,
  created_by_user_name: row.createdBy?.fullName ?? null,
  change_description: row.changeDescription ?? null,
});

/** Every version of a file, newest first. */
async function versions(call: Call, fileId: string): Promise<FileSnapshotRowFragment[]> {
  const list: List<FileSnapshotRowFragment, FileSnapshotRowFragment> = {
    size: TEXTS,
    row: (row) => row,
    ask: async ({ rows: _, ...part }) => {
      const node = ofKind((await ask(call, 'FileSnapshots', { id: fileId, ...part })).node);
      return node && 'versions' in node ? node.versions : null;
    },
  };
  return (await call.rows(list)).rows;
}

export async function fileSnapshots(call: Call, fileId: string): Promise<types.FileSnapshot[]> {
  const states = await versions(call, fileId);
  return states.flatMap((state, at) => {
    const edit = states[at - 1];
    return edit && !state.isDeletion ? [fileSnapshotRow(state, edit)] : [];
  });
}

type Activity = NonNullable<Operations['RecentActivity'][0]['recentActivity']>['nodes'][number];

const activityRow = (row: Activity): types.RecentActivity => ({
  id: row.message.id,
  user_id: row.author.id,
  project_id: row.project.id,
  project_name: row.project.name,
  session_id: row.message.session.id,
  message_role: lower(row.message.role),
  message_content: row.excerpt,
  timestamp: row.message.createdAt,
  is_checkpoint: row.message.isCheckpoint,
});

/** Gives deleted files the contents that they had. */
export async function addContents(call: Call, files: types.ProjectFile[]): Promise<void> {
  const list = { size: TEXTS };
  const ids = files.map(({ id }) => id);
  for (let at = 0; at < files.length; ) {
    const { nodes } = await fitting(list, files.length - at, (count) => ask(call, 'LastContents', { ids: ids.slice(at, at + count) }));
    for (const each of nodes) {
      const node = ofKind(each);
      const states = node && 'versions' in node ? node.versions.nodes : [];
      const last = states.find(({ isDeletion }) => !isDeletion);
      Object.assign(files[at]!, { content: last?.content ?? null, size_bytes: last?.sizeBytes ?? 0 });
      at += 1;
    }
  }
}

/** The newest messages of the caller's own active projects. */
export async function recentActivity(call: Call, limit: number): Promise<types.RecentActivity[]> {
  const own: types.RecentActivity[] = [];
  const list = { size: MESSAGES };
  for (let after: string | null = null; own.length < limit; ) {
    const load = (first: number) => ask(call, 'RecentActivity', { first, after });
    const { viewer, recentActivity: part }: Operations['RecentActivity'][0] = await fitting(list, limit, load);
    own.push(...(part?.nodes ?? []).filter(({ project }) => project.owner.id === viewer.id).map(activityRow));
    if (!part?.pageInfo.hasNextPage) break;
    after = part.pageInfo.endCursor ?? null;
  }
  return own.slice(0, limit);
}

/** Whether a passed value agrees with the recorded one. Null and undefined always do. An empty content is a value, an empty id is not. */
function agrees(field: string, passed: unknown, recorded: unknown): boolean {
  if (field === 'message_id') passed = messageId(passed as string | null);
  if (passed === undefined || passed === null || (passed === '' && !field.endsWith('content'))) return true;
  return canonical(passed) === canonical(recorded ?? (passed === '' ? '' : null));
}

/** JSON with the keys of each object in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each) =>
    each && typeof each === 'object' && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort()) : each,
  );
}

const SNAPSHOT_FIELDS = [
  'id', 'project_id', 'content', 'change_description', 'session_id', 'message_id', 'diff_content', 'created_at', 'created_by_user_id',
] as const;

export async function fileSnapshot(call: Call, values: Omit<types.FileSnapshot, 'id' | 'created_at'>): Promise<types.FileSnapshot> {
  inputOf(values, `file_id! version! content! ${SNAPSHOT_FIELDS.join(' ')}`);
  const states = await versions(call, values.file_id);
  const at = states.findIndex(({ version }) => version === values.version);
  const state = found(states[at], 'version of this file');
  const snapshot = fileSnapshotRow(state, states[at - 1] ?? state);
  for (const field of SNAPSHOT_FIELDS) {
    if (agrees(field, (values as types.FileSnapshot)[field], snapshot[field])) continue;
    throw refuse(field, `The server records versions itself; it has recorded another ${field}.`);
  }
  return snapshot;
}

export async function revert(call: Call, fileId: string, snapshotId: string): Promise<types.ProjectFile> {
  const reverted = (await ask(call, 'RevertFile', { input: { fileId, snapshotId } })).revertFile;
  return file(found(reverted, 'file').file);
}

export async function createSnapshot(call: Call, input: Record<string, unknown>): Promise<types.ProjectSnapshot> {
  const row = found((await ask(call, 'CreateSnapshot', { input })).createSnapshot, 'project').snapshot;
  return projectSnapshotRow(row, await filesOf(call, row.id));
}

export async function projectSnapshots(call: Call, projectId: string): Promise<types.ProjectSnapshot[]> {
  const list: List<ProjectSnapshotRowFragment, ProjectSnapshotRowFragment> = {
    size: SNAPSHOTS,
    row: (row) => row,
    ask: async ({ rows: _, ...part }) => (await ask(call, 'Snapshots', { id: projectId, ...part })).project?.snapshots,
  };
  const snapshots: types.ProjectSnapshot[] = [];
  for (const row of (await call.rows(list)).rows) {
    snapshots.push(projectSnapshotRow(row, await filesOf(call, row.id)));
  }
  return snapshots;
}

async function filesOf(call: Call, snapshotId: string): Promise<types.SnapshotFile[]> {
  type Row = { path: string; name: string; type: string; content?: string | null; version: number };
  const list: List<Row, types.SnapshotFile> = {
    size: FILES,
    row: ({ path, name, type, content, version }) => {
      return { path, name, type: type.toLowerCase() as types.FileType, content: content ?? null, version };
    },
    ask: async ({ rows: _, ...part }) => {
      const node = ofKind((await ask(call, 'SnapshotFiles', { id: snapshotId, ...part })).node);
      return node && 'files' in node ? node.files : null;
    },
  };
  return (await call.rows(list)).rows;
}

export async function changes(call: Call, projectId: string, filter: object = {}): Promise<types.FileChangeHistory[]> {
  let of = { id: projectId, name: '' };
  const list: List<ChangeRowFragment, types.FileChangeHistory> = {
    size: TEXTS,
    row: (row) => changeRow(row, of),
    ask: async ({ rows: _, ...part }) => {
      const project = (await ask(call, 'Changes', { id: projectId, filter, ...part })).project;
      of = project ?? of;
      return project?.changes;
    },
  };
  return (await call.rows(list)).rows;
}

const CHANGE_FIELDS = [
  'change_type', 'new_content', 'old_content', 'session_id', 'message_id', 'diff_content', 'line_changes', 'id', 'created_at',
] as const;

export async function codeChange(call: Call, values: Omit<types.CodeChange, 'id' | 'created_at'>): Promise<types.CodeChange> {
  inputOf(values, `project_id! file_id! change_type! ${CHANGE_FIELDS.join(' ')}`);
  let left = await changes(call, values.project_id, { fileId: values.file_id });
  found(left[0], 'change of this file');
  for (const field of CHANGE_FIELDS) {
    left = left.filter((change) => agrees(field, (values as types.CodeChange)[field], change[field]));
    if (left.length === 0) throw refuse(field, `The server records changes itself; no change of this file has this ${field}.`);
  }
  const { id, project_id, session_id, message_id, file_id, change_type, old_content, new_content, diff_content, line_changes, created_at } = left[0]!;
  return { id, project_id, session_id, message_id, file_id, change_type, old_content, new_content, diff_content, line_changes, created_at };
}
