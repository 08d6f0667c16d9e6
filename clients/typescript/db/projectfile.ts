// A whole project as one file. The server sends its progress first, in parts of a multipart response (RFC 2046, section 5.1).
import { type Call, dataOf, endedEarly, failed } from './connection.js';
import type { ProjectDownload, ProjectProgress } from './types.js';

const FILE = 'application/vnd.sqlite3';

/** The bytes of a response, line by line or by their number. */
class Body {
  readonly #read: () => Promise<Uint8Array<ArrayBuffer>>;
  #rest = new Uint8Array(0);

  constructor(read: () => Promise<Uint8Array<ArrayBuffer>>) {
    this.#read = read;
  }

  /** The next line, without its CRLF. */
  async line(): Promise<string> {
    for (let from = 0; ; ) {
      const end = this.#rest.indexOf(10, from);
      if (end > 0 && this.#rest[end - 1] === 13) {
        const line = new TextDecoder().decode(this.#rest.subarray(0, end - 1));
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      from = end < 0 ? this.#rest.length : end + 1;
      if (end >= 0) continue;
      const more = await this.#read();
      const joined = new Uint8Array(this.#rest.length + more.length);
      joined.set(this.#rest);
      joined.set(more, this.#rest.length);
      this.#rest = joined;
    }
  }

  /** The next bytes. Calls back with the number of those that have arrived. */
  async take(count: number, onBytes: (count: number) => void): Promise<Uint8Array<ArrayBuffer>[]> {
    const parts = [this.#rest.subarray(0, count)];
    this.#rest = this.#rest.subarray(count);
    for (let taken = parts[0]!.length; ; ) {
      onBytes(taken);
      if (taken === count) return parts;
      const more = await this.#read();
      parts.push(more.subarray(0, count - taken));
      this.#rest = more.subarray(count - taken);
      taken += parts.at(-1)!.length;
    }
  }
}

export async function downloadProject(call: Call, projectId: string, { onProgress, signal }: ProjectDownload): Promise<Blob> {
  const url = call.beside(`projects/${encodeURIComponent(projectId)}/project.antiphon`);
  const response = await call.request(url, { headers: { Accept: 'multipart/mixed' } }, signal);
  const { status, body } = response;
  const boundary = /^multipart\/mixed;.*\bboundary="?([^";]+)/i.exec(response.headers.get('content-type') ?? '')?.[1];
  if (!boundary || !body) {
    // A refusal, or an answer of something else.
    dataOf(await call.textOf(response), status, url);
    throw failed(`${url} does not answer as an Antiphon server: HTTP status ${status}.`, undefined, status);
  }
  const reader = body.getReader();
  const cut = (cause?: unknown) => failed(`${endedEarly(url)}: HTTP status ${status}.`, cause, status);
  const read = async () => {
    signal?.throwIfAborted();
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw cut(cause);
    });
    if (done) throw cut();
    return value;
  };
  try {
    return await fileOf(new Body(read), `--${boundary}`, (text) => dataOf(text, status, url), onProgress);
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** The file of a response whose parts are divided by a line. `fail` throws the error that a part has instead. */
async function fileOf(
  body: Body,
  divider: string,
  fail: (text: string) => unknown,
  onProgress: ProjectDownload['onProgress'],
): Promise<Blob> {
  let progress: ProjectProgress = { rows: 0, totalRows: null, bytes: 0, totalBytes: null };
  const report = (more: Partial<ProjectProgress>) => onProgress?.((progress = { ...progress, ...more }));
  let file: Blob | undefined;
  let line = await body.line();
  while (line === divider) {
    let length: number | undefined;
    while ((line = await body.line())) {
      const [, value] = /^content-length: *(\d+)/i.exec(line) ?? [];
      if (value) length = Number(value);
    }
    if (length !== undefined) {
      file = new Blob(await body.take(length, (bytes) => report({ bytes, totalBytes: length! })), { type: FILE });
      await body.line();
      line = await body.line();
      continue;
    }
    let text = '';
    while (!(line = await body.line()).startsWith(divider)) text += line;
    let found: Partial<ProjectProgress> = {};
    try {
      found = Object(JSON.parse(text));
    } catch {
      // `fail` reports it.
    }
    if (found.rows === undefined) fail(text);
    report({ rows: found.rows!, totalRows: found.totalRows ?? null });
  }
  if (!file) fail('');
  return file!;
}
