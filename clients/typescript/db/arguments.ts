// The original's arguments in the API's terms.
import { refuse, type Variables } from './connection.js';

export const upper = <T extends string>(name: T) => name.toUpperCase() as Uppercase<T>;

/** The values that were given. Null is one: it takes away what was there. */
export function given(values: Variables): Variables {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** Text that may be missing: there, an empty one is none. */
export const text = (value: string | null | undefined) => (value === '' ? null : value);

/** A session's or another row's id that may be missing. */
export const id = (value: string | null | undefined) => value || undefined;

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** A message's id that may be missing. The IDE makes ids of its own (`msg_…`), which name no message of the server's. */
export const messageId = (value: string | null | undefined) => (value && UUID.test(value) ? value : undefined);

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/** A time as the API takes it: a day is its first moment, and a time without a zone is in UTC, as PostgreSQL reads them. */
export function time(value: string | undefined): string | undefined {
  if (!value) return undefined;
  const text = value.trim().replace(/^(\d{4}-\d\d-\d\d)$/, '$1T00:00:00').replace(/^(\d{4}-\d\d-\d\d) /, '$1T');
  const zoned = /(?:Z|GMT|UTC|:\d\d(?:\.\d+)?[+-]\d\d(?::?\d\d)?)\b/i.test(text)
    ? text.replace(/([+-]\d\d)(?::?(\d\d))?$/, (_, hours, minutes = '00') => `${hours}:${minutes}`)
    : `${text}Z`;
  if (RFC_3339.test(zoned)) return zoned;
  const parsed = new Date(zoned);
  return isNaN(parsed.getTime()) ? value : parsed.toISOString();
}

/** A path's parts, as the server reads it. */
export const partsOf = (path: string) => path.split('/').filter((part) => part !== '' && part !== '.');

/** Refuses an argument that is given and differs from what is there. */
export function mustBe(field: string, value: unknown, there: unknown, why: string): void {
  const empty = (each: unknown) => each === undefined || each === null || each === '';
  if (!empty(value) && value !== there) throw refuse(field, why);
}

/** Refuses a name or a folder that is not the path's. */
export function mustFitPath(path: string, name: string | undefined, parent: string | null | undefined): void {
  const parts = partsOf(path);
  mustBe('file_name', name, parts.at(-1), `file_name is the last part of file_path: ${parts.at(-1)}.`);
  const folder = partsOf(parent ?? '');
  const parents = parts.slice(0, -1).join('/');
  mustBe('parent_path', folder.join('/'), parents, `parent_path is the folder of file_path: ${parents || 'none'}.`);
}
