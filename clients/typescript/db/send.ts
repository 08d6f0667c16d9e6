// What the parts that are loaded later share.
import { run } from './additions.js';
import { type Call, inColumns, type Variables } from './connection.js';
import type { Api } from './documents.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Result<Name extends keyof Api> = Api[Name] extends (values: any) => Promise<infer Value> ? Value : never;

/** Runs an operation of `db.api`. Its errors name fields like the package's calls. */
export function send<Name extends keyof Api>(call: Call, name: Name, values: Variables, signal?: AbortSignal): Promise<Result<Name>> {
  return run(call, name, values, signal).catch((error) => inColumns(error, {})) as Promise<Result<Name>>;
}

/** Waits, until the signal at the longest. */
export function pause(time: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, time);
    signal?.addEventListener('abort', end);
    if (signal?.aborted) end();
  });
}

/** A path as the server writes it. */
export const pathOf = (path: string) => `${path}`.split('/').filter((part) => part !== '' && part !== '.').join('/');
