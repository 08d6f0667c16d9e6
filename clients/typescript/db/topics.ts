// What can be listened to: where it begins, and how its results are rows.
import type { Call } from './connection.js';
import type { Operations } from './documents.js';
import * as rows from './rows.js';
import { found, ofKind } from './rows.js';
import type * as types from './types.js';

const codeChange = (row: Operations['OnCodeChange'][0]['codeChanged'], projectId: string): types.LiveCodeChange => ({
  project_id: projectId,
  revision: row.revision,
  created_at: row.createdAt,
  user_id: row.actor?.id ?? null,
  session_id: row.session?.id ?? null,
  message_id: row.message?.id ?? null,
  changes: row.changes.map((change) => ({
    id: change.id,
    file_id: change.file.id,
    change_type: rows.lower(change.type),
    file_path: change.path,
    old_path: change.oldPath ?? null,
    additions: change.additions,
    deletions: change.deletions,
    change_description: change.changeDescription ?? null,
  })),
});

const projectEvent = (row: Operations['OnProjectEvent'][0]['projectEvents'], projectId: string): types.ProjectEvent => ({
  project_id: projectId,
  revision: row.revision,
  kind: rows.lower(row.kind),
  created_at: row.createdAt,
  user_id: row.actor?.id ?? null,
  session_id: row.session?.id ?? null,
  message: row.message ? rows.message(row.message) : null,
  snapshot_id: row.snapshot?.id ?? null,
});

const messageText = (row: Operations['OnMessageText'][0]['messageStream']): types.MessageText => ({
  text: row.text,
  offset: row.offset,
  next_offset: row.nextOffset,
  state: rows.lower(row.state),
  message: row.message ? rows.message(row.message) : null,
});

const presence = ({ joinedAt, user }: Operations['OnPresence'][0]['presence'][number]): types.Presence => ({
  user_id: user.id,
  full_name: user.fullName ?? null,
  avatar_url: user.avatarUrl ?? null,
  joined_at: joinedAt,
});

/** What a subscription delivers, and how it goes on. */
export interface Topic<Data, Item> {
  /** The position to begin at if none is known. */
  start?: (call: Call, id: string, signal: AbortSignal) => Promise<number>;
  /** An item, its position, and whether it is the last. */
  read: (data: Data, id: string) => { item: Item; position?: number; isLast?: boolean };
}

const topic = <Name extends keyof Operations, Item>(_: Name, own: Topic<Operations[Name][0], Item>) => own;

const revisionOf = async (call: Call, id: string, signal: AbortSignal) => rows.revision(await call.ask('Revision', { id }, signal));

export const topics = {
  OnMessage: topic('OnMessage', {
    start: async (call, id, signal) => {
      const node = ofKind((await call.ask('SessionRevision', { id }, signal)).node);
      return found(node && 'project' in node ? node.project : null, 'session').revision;
    },
    read: ({ messageAdded: row }): { item: types.LiveMessage; position: number } => ({
      item: { ...rows.message(row), revision: row.revision },
      position: row.revision,
    }),
  }),
  OnCodeChange: topic('OnCodeChange', {
    start: revisionOf,
    read: ({ codeChanged: row }, id) => ({ item: codeChange(row, id), position: row.revision }),
  }),
  OnProjectEvent: topic('OnProjectEvent', {
    start: revisionOf,
    read: ({ projectEvents: row }, id) => ({ item: projectEvent(row, id), position: row.revision }),
  }),
  OnMessageText: topic('OnMessageText', {
    read: ({ messageStream: row }) => {
      const item = messageText(row);
      return { item, position: row.nextOffset, isLast: item.state === 'finished' || item.state === 'discarded' };
    },
  }),
  OnPresence: topic('OnPresence', { read: ({ presence: people }) => ({ item: people.map(presence) }) }),
};

export type TopicName = keyof typeof topics;
