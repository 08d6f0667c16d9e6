// The original's arguments in the API's terms.
import { refuse, type Variables } from './connection.js';
import type { PageRequest } from './types.js';

/** The columns whose values are enums of the API, in upper case there. */
const ENUMS = ['status', 'role', 'file_type'];

const upper = <T extends string>(name: T) => name.toUpperCase() as Uppercase<T>;

/** A column's name in the API. */
const camel = (column: string) => column.replace(/_./g, ([, letter]) => upper(letter!));

/** A value in the API's terms. In the original, an empty text counts as none if the column can be null. */
function termOf(column: string, value: unknown, isNullable: boolean): unknown {
  if (value === '' && isNullable) return null;
  if (typeof value !== 'string') return value;
  if (ENUMS.includes(column)) {
    if (value !== value.toLowerCase()) throw refuse(column, `There is no ${column} ${value}.`);
    return upper(value);
  }
  return /_(after|before)$/.test(column) ? time(value) : value;
}

/**
 * The values of columns in the API's terms. Refuses unknown columns, and null in a column with `!`, before anything is written.
 * A column with `!` must be given unless `isPartial`.
 */
export function inputOf(values: object, columns: string, isPartial = false): Variables {
  if (typeof values !== 'object' || !values) throw refuse('values', `${values} is not an object.`);
  const rest = new Map(Object.entries(values).filter(([, value]) => value !== undefined));
  const input: Variables = {};
  for (const each of columns.split(' ')) {
    const column = each.replace('!', '');
    const isNullable = column === each;
    const value = rest.get(column);
    if (rest.delete(column)) input[camel(column)] = termOf(column, value, isNullable);
    else if (isNullable || isPartial) continue;
    if (!isNullable && (value ?? null) === null) throw refuse(column, `${column} must not be null.`);
  }
  for (const column of rest.keys()) throw refuse(column, `There is no column ${column} here.`);
  return input;
}

/** Refuses what is not a whole number. */
export function mustBeWhole(field: string, value: number, least: number): void {
  if (!(Number.isSafeInteger(value) && value >= least)) throw refuse(field, `${field} must be a whole number from ${least} on.`);
}

/** A page of a list in an order. */
export interface Page {
  page: number;
  limit: number;
  column: string;
  order: 'asc' | 'desc';
}

/** The requested page of a list whose rows have these columns. `usual` has the defaults of the call. */
export function paging(request: PageRequest, columns: string, usual: Omit<Page, 'page'>): Page {
  inputOf(request, 'page! limit! sort_by! sort_order!', true);
  const { page = 1, limit = usual.limit, sort_by: column = usual.column, sort_order: order = usual.order } = request;
  mustBeWhole('page', page, 1);
  mustBeWhole('limit', limit, 1);
  if (order !== 'asc' && order !== 'desc') throw refuse('sort_order', `There is no sort_order ${order}.`);
  if (!columns.split(' ').includes(column)) throw refuse('sort_by', `There is no column ${column}.`);
  return { page, limit, column, order };
}

/** An id that may be missing. */
export const id = (value: string | null | undefined) => value || undefined;

const UUID = /^[0-9a-f-]{36}$/i;

/** A message's id that may be missing. The IDE also passes its own ids (`msg_…`), which the server does not know. */
export const messageId = (value: string | null | undefined) => (value && UUID.test(value) ? value : undefined);

const ISO_8601 = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(?:Z|([+-]\d\d):?(\d\d)?)?)?$/i;

/** A time as the API accepts it. A day is its first moment, and a time without a zone is in UTC, as in PostgreSQL. */
export function time(value: string): string {
  const [, day, minute = '00:00', second = ':00', hours, minutes = '00'] = ISO_8601.exec(value.trim()) ?? [];
  if (day) return `${day}T${minute}${second}${hours ? `${hours}:${minutes}` : 'Z'}`;
  const parsed = new Date(/GMT|UTC|Z/.test(value) ? value : `${value} UTC`);
  return isNaN(parsed.getTime()) ? value : parsed.toISOString();
}
