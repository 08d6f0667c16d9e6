// Changes of projects and profiles, and new files.
import { inputOf, time } from './arguments.js';
import { type Call, refuse, type Variables } from './connection.js';
import type { Operations } from './documents.js';
import { texts } from './edits-texts.js';
import { file, found, ofKind, profile, project } from './rows.js';
import { pathOf } from './send.js';
import type * as types from './types.js';

const PROFILE_COLUMNS = 'email full_name avatar_url created_at updated_at';
const PROJECT_COLUMNS = 'id user_id name! description initial_prompt! config! status! created_at updated_at last_accessed_at!';

const ask = <Name extends keyof Operations>(call: Call, name: Name, variables: Variables) => call.ask(name, variables, texts);

/** Refuses a value that differs from what is there. An empty text is none. */
function mustBe(field: string, value: unknown, there: unknown, why: string): void {
  if ((value || null) !== (there || null)) throw refuse(field, why);
}

/** Refuses values of columns that cannot be set, unless they are those of the row. */
async function mustBeThere<Row>(values: object, columns: (keyof Row & string)[], read: () => Promise<Row>): Promise<void> {
  const given = columns.filter((column) => (values as Partial<Row>)[column] !== undefined);
  if (given.length === 0) return;
  const row = await read();
  for (const column of given) mustBe(column, (values as Partial<Row>)[column], row[column], `${column} cannot be set here.`);
}

/** The profile of a user; null for all users but the caller, also for members of the same project. */
export async function profileOf(call: Call, id: string): Promise<types.UserProfile | null> {
  const { viewer, node } = await ask(call, 'ProfileOf', { id });
  const row = ofKind(node);
  return row && 'id' in row && row.id === viewer.id ? profile(row) : null;
}

export async function fillProfile(call: Call, values: object): Promise<types.UserProfile> {
  const { fullName, avatarUrl } = inputOf(values, `id! ${PROFILE_COLUMNS}`);
  return setProfile(call, values, { fullName: fullName ?? undefined, avatarUrl: avatarUrl ?? undefined });
}

export async function updateProfile(call: Call, values: object): Promise<types.UserProfile> {
  const { fullName, avatarUrl } = inputOf(values, `id ${PROFILE_COLUMNS}`, true);
  return setProfile(call, values, { fullName, avatarUrl });
}

async function setProfile(call: Call, values: object, input: Variables): Promise<types.UserProfile> {
  await mustBeThere(values, ['id', 'email', 'created_at'], async () => profile((await call.ask('Profile', {})).viewer));
  return profile(found((await ask(call, 'UpdateProfile', { input })).updateProfile, 'profile'));
}

/** A time in milliseconds; NaN if it is none. */
const millisecond = (value: unknown) => (value instanceof Date ? value.getTime() : Date.parse(time(`${value}`)));

export async function updateProject(call: Call, id: string, values: object): Promise<types.Project> {
  const { name, description, initialPrompt, config, status, updatedAt, lastAccessedAt } = inputOf(values, PROJECT_COLUMNS, true);
  for (const [column, value] of [['updated_at', updatedAt], ['last_accessed_at', lastAccessedAt]] as const) {
    if (value && isNaN(millisecond(value))) throw refuse(column, `${column} is no time.`);
  }
  await mustBeThere(values, ['id', 'user_id', 'created_at'], async () => {
    return project(found((await call.ask('Project', { id })).project, 'project'));
  });
  const input = { id, name, description, initialPrompt, config, status };
  const updated = project(found((await ask(call, 'UpdateProject', { input })).updateProject, 'project').project);
  // The time of a row that is passed back, or an earlier one, does not open the project. After an update, only a deleted
  // project refuses this.
  if (updated.status === 'deleted' || !(millisecond(lastAccessedAt) > millisecond(updated.last_accessed_at))) return updated;
  return project(found((await call.ask('TouchProject', { id })).touchProject, 'project').project);
}

export async function createFile(
  call: Call,
  projectId: string,
  values: { file_path: string; file_name: string; parent_path?: string },
): Promise<types.ProjectFile> {
  const columns = 'file_path! file_name! file_type! content language parent_path';
  const { filePath: path, fileType: type, content, language } = inputOf(values, columns);
  const { file_path, file_name, parent_path } = values;
  const parts = pathOf(file_path).split('/');
  const last = parts.pop();
  // The server refuses a path without parts.
  if (last) mustBe('file_name', file_name, last, `file_name is the last part of file_path: ${last}.`);
  const folder = parts.join('/');
  if (parent_path) mustBe('parent_path', pathOf(parent_path), folder, `parent_path is the folder of file_path: ${folder || 'none'}.`);
  const input = { projectId, path, type, content, language };
  return file(found((await ask(call, 'CreateFile', { input })).createFile, 'project').file);
}
