// Changes of projects and profiles.
import { inputOf, mustBe, time } from './arguments.js';
import { type Call, refuse, type Variables } from './connection.js';
import type { Operations } from './documents.js';
import { texts } from './edits-texts.js';
import { found, ofKind, profile, project } from './rows.js';
import type * as types from './types.js';

const PROFILE_COLUMNS = 'email full_name avatar_url created_at updated_at';
const PROJECT_COLUMNS = 'id user_id name! description initial_prompt! config! status! created_at updated_at last_accessed_at!';

const ask = <Name extends keyof Operations>(call: Call, name: Name, variables: Variables) => call.ask(name, variables, texts);

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
