// urql with its normalized cache.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';

import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { persistedExchange } from '@urql/exchange-persisted';
import { buildSchema, introspectionFromSchema } from 'graphql';

import { documents, eventually, headers, newProject, schemaFile, socketClient, url } from './server.mjs';

const socket = socketClient();
const schema = introspectionFromSchema(buildSchema(await readFile(schemaFile, 'utf8')));
const embedded = () => null;
// urql aborts a request once it has the response. If the end of the body is still under way, Node reports the error
// only to the process.
const unabortedFetch = (input, { signal: _signal, ...init }) => fetch(input, init);
const urql = new Client({
  url,
  preferGetMethod: false,
  fetchOptions: { headers },
  fetch: unabortedFetch,
  exchanges: [
    cacheExchange({
      schema,
      keys: { ProjectStats: embedded },
      resolvers: { Project: { files: relayPagination() } },
    }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: (operation) => ({
        subscribe: (sink) => ({ unsubscribe: socket.subscribe(operation, sink) }),
      }),
    }),
  ],
});
after(() => socket.dispose());

async function run(kind, operation, variables, context) {
  const { data, error } = await urql[kind](documents[operation], variables, context).toPromise();
  if (error) throw error;
  return data;
}
const mutate = (operation, input) => run('mutation', operation, { input });

let projectId;
let sessionId;

test('a displayed page changes with a mutation elsewhere, without another request', async () => {
  const { createProject } = await mutate('CreateProject', newProject);
  projectId = createProject.project.id;
  const seen = [];
  const page = urql.query(documents.ProjectPage, { id: projectId });
  const { unsubscribe } = page.subscribe(({ data }) => data?.project && seen.push(data.project.name));
  await eventually(() => seen.length, 'the page');
  await mutate('RenameProject', { id: projectId, name: 'Renamed' });
  await eventually(() => seen.at(-1) === 'Renamed', 'the new name');
  unsubscribe();
  const { project } = await run('query', 'ProjectPage', { id: projectId }, { requestPolicy: 'cache-only' });
  assert.equal(project.revision, 2);
});

test('a query can use GET', async () => {
  const { viewer } = await run('query', 'Viewer', {}, { preferGetMethod: 'force', requestPolicy: 'network-only' });
  assert.match(viewer.email, /@/);
});

test('pages of a connection are joined in the cache', async () => {
  const files = ['a.py', 'b.py', 'c.py'].map((path) => ({ path, content: `# ${path}\n` }));
  await mutate('SyncFiles', { projectId, files });
  const first = await run('query', 'ProjectFiles', { id: projectId, first: 2 });
  const { endCursor } = first.project.files.pageInfo;
  const all = await run('query', 'ProjectFiles', { id: projectId, first: 2, after: endCursor });
  assert.deepEqual(all.project.files.edges.map(({ node }) => node.path), ['a.py', 'b.py', 'c.py']);
  await mutate('UpdateFile', { projectId, path: 'a.py', content: 'print(1)\n', expectedVersion: 1 });
  const again = await run('query', 'ProjectFiles', { id: projectId, first: 2 }, { requestPolicy: 'cache-only' });
  assert.equal(again.project.files.edges[0].node.content, 'print(1)\n');
});

test('an error contains its code', async () => {
  const problem = await mutate('UpdateFile', { projectId, path: 'a.py', content: '', expectedVersion: 1 }).catch(
    (error) => error,
  );
  assert.equal(problem.graphQLErrors[0].extensions.code, 'CONFLICT');
});

test('a subscription replays and continues live', async () => {
  const heard = [];
  const { unsubscribe } = urql
    .subscription(documents.ProjectEvents, { projectId, afterRevision: 0 })
    .subscribe(({ data, error }) => heard.push(error ?? data.projectEvents.revision));
  const { startSession } = await mutate('StartSession', { projectId, title: 'Initial Setup' });
  sessionId = startSession.session.id;
  const { addMessage } = await mutate('AddMessage', { sessionId, role: 'USER', content: 'Hello' });
  await eventually(() => heard.at(-1) === addMessage.revision, 'the event');
  unsubscribe();
  assert.deepEqual(heard, heard.map((_, at) => at + 1));
});

test('documents are sent in full once, and by their hashes afterwards: queries by GET, mutations, subscriptions', async () => {
  const sent = [];
  const persisted = new Client({
    url,
    preferGetMethod: false,
    fetchOptions: { headers },
    fetch: (input, init) => {
      sent.push([init.method, /"query":|[?&]query=/.test(`${input}${init.body}`) ? 'whole' : 'hash']);
      return unabortedFetch(input, init);
    },
    exchanges: [
      persistedExchange({ enableForMutation: true, enableForSubscriptions: true }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, ...operation }) => ({
          subscribe: (sink) => {
            sent.push(['SUBSCRIBE', query ? 'whole' : 'hash']);
            // graphql-ws needs a text here; the server treats an empty one as missing.
            return { unsubscribe: socket.subscribe({ query: query ?? '', ...operation }, sink) };
          },
        }),
      }),
    ],
  });
  // New documents.
  const name = projectId.replaceAll('-', '_');
  const query = `query Once_${name} { viewer { email } }`;
  const mutation = `mutation Once_${name}($input: UpdateProjectInput!) { updateProject(input: $input) { revision } }`;
  const subscription = `subscription Once_${name}($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }`;
  const heardOf = (subscribed) =>
    new Promise((resolve, reject) => {
      const { unsubscribe } = subscribed.subscribe(({ data, error }) => {
        if (error) reject(error);
        else resolve(data.projectEvents.revision);
        queueMicrotask(() => unsubscribe());
      });
    });
  for (let times = 0; times < 2; times += 1) {
    sent.length = 0;
    const asked = await persisted.query(query, {}).toPromise();
    assert.match(asked.data?.viewer.email ?? String(asked.error), /@/);
    const written = await persisted.mutation(mutation, { input: { id: projectId, name: `Renamed ${times}` } }).toPromise();
    assert.ok(written.data?.updateProject.revision > 0, String(written.error));
    assert.equal(await heardOf(persisted.subscription(subscription, { id: projectId })), 1);
    assert.deepEqual(sent.filter(([, how]) => how === 'hash'), [['GET', 'hash'], ['POST', 'hash'], ['SUBSCRIBE', 'hash']]);
    const whole = new Set(sent.filter(([, how]) => how === 'whole').map(([by]) => by));
    assert.deepEqual([...whole], times === 0 ? ['GET', 'POST', 'SUBSCRIBE'] : []);
  }
});
