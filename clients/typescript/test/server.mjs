// The server under test, and the documents that every client sends to it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { Kind, parse, visit } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const { BASE_URL, TOKEN } = process.env;
assert.ok(BASE_URL && TOKEN, 'set BASE_URL (such as http://127.0.0.1:8080) and TOKEN (a bearer token that it accepts)');

export const url = new URL('/graphql', BASE_URL).href;
export const socketUrl = new URL('/graphql/ws', BASE_URL).href.replace(/^http/, 'ws');
export const headers = { Authorization: `Bearer ${TOKEN}` };

/** The schema for the clients' compilers. */
export const schemaFile = new URL('../../../schema.graphql', import.meta.url);
export const operationsFile = new URL('../operations.graphql', import.meta.url);

/** A document for each operation, by name, with the fragments that it uses. */
export const documents = await (async () => {
  const { definitions } = parse(await readFile(operationsFile, 'utf8'));
  const fragments = new Map(
    definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION).map((each) => [each.name.value, each]),
  );
  const used = (definition, found = new Set()) => {
    visit(definition, {
      FragmentSpread({ name }) {
        const fragment = fragments.get(name.value);
        if (!found.has(fragment)) used(fragment, found.add(fragment));
      },
    });
    return found;
  };
  const operations = definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  return Object.fromEntries(
    operations.map((each) => [each.name.value, { kind: Kind.DOCUMENT, definitions: [each, ...used(each)] }]),
  );
})();

export const newProject = { name: 'My Voice Agent', initialPrompt: 'You are a helpful assistant...', config: {} };

/** A client of the reference implementation of graphql-transport-ws that always reconnects at once. */
export function socketClient(options = {}) {
  return createClient({
    url: socketUrl,
    webSocketImpl: WebSocket,
    connectionParams: headers,
    retryAttempts: 5,
    retryWait: async () => {},
    ...options,
  });
}

/** Waits until `test` returns a value, and returns it. */
export async function eventually(test, what) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = await test();
    if (value) return value;
    assert.ok(Date.now() < deadline, `timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
