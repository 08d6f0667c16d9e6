// What the original does not have: the API's other calls, bytes, and messages that are written piece by piece.
import { Client, load } from './client.js';
import { type Call, unless, type Variables } from './connection.js';
import type { Api, Operations } from './documents.js';
import { found } from './rows.js';
import { textOf } from './texts.js';
import type * as types from './types.js';

/** Runs an operation of `db.api`, and returns the value of the field that it is named after. */
export async function run(call: Call, name: keyof Operations, values: Variables, signal?: AbortSignal): Promise<unknown> {
  const { texts } = await load(import('./api-texts.js'));
  const text = textOf(name, texts);
  const data = (await call.run(text, text.includes('($input:') ? { input: values } : values, signal)) as Record<string, Variables | null>;
  return name in data ? found(data[name], name) : found(data.project ?? data.viewer, 'project')[name];
}

/** A method for each name, but for those by which other code recognizes promises and the like. */
export const apiOf = (begin: () => Promise<Call>) =>
  new Proxy({} as Api, {
    get: (_, name) =>
      typeof name === 'string' && !['then', 'toJSON'].includes(name)
        ? async (values: Variables = {}) => run(await begin(), name as keyof Operations, values)
        : undefined,
  });

/** Most pages neither upload nor sync. */
export const transfer = () => load(import('./transfer.js'));

export class Additions extends Client {
  /** The API's other calls, with its own names: a method for each operation of api.graphql. */
  readonly api = apiOf(() => this.begin());

  /** Creates or replaces a file. */
  async uploadFile(projectId: string, path: string, bytes: types.Bytes, context?: types.WriteContext): Promise<types.ProjectFile> {
    const begin = this.pinned();
    return (await transfer()).upload(begin, projectId, path, bytes, context);
  }

  /** The bytes of a file, as they are now or were at a revision; null if there is no such file. */
  async downloadFile(projectId: string, path: string, at?: number): Promise<types.FileBytes | null> {
    const begin = this.pinned();
    return (await transfer()).download(begin, projectId, path, at);
  }

  /**
   * The whole project as one file, for `antiphon import`: conversation, history and configurations. Only its owner gets it. The server
   * makes the file first, and reports how many rows it has written.
   */
  async downloadProject(projectId: string, options: types.ProjectDownload = {}): Promise<Blob> {
    const download = async () => {
      const call = await this.begin();
      const { downloadProject } = await load(import('./projectfile.js'));
      return downloadProject(call, projectId, options);
    };
    return unless(options.signal, download());
  }

  /**
   * Writes a message while its text comes, as from a language model: listeners receive it by `onMessageText`. If the text fails,
   * the message is discarded. The options can also be the third argument.
   */
  async writeMessage(
    values: types.MessageStart,
    text: types.TextSource,
    ...rest: [onStart?: ((messageId: string) => void) | types.WriteOptions, options?: types.WriteOptions]
  ): Promise<types.ChatMessage> {
    const begin = this.pinned();
    const { write } = await load(import('./writing.js'));
    return write(begin, values, text, ...rest);
  }
}
