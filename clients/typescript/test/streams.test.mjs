// Subscriptions over HTTP: the reference client of graphql-sse, and Apollo Client with multipart.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApolloClient, HttpLink, InMemoryCache } from '@apollo/client';
import { print } from 'graphql';
import { createClient } from 'graphql-sse';

import { tokenFor } from './package.mjs';
import { documents, eventually, headers, newProject, url } from './server.mjs';

const query = Object.fromEntries(Object.entries(documents).map(([name, document]) => [name, print(document)]));

async function post(operation, variables) {
  const body = JSON.stringify({ query: query[operation], variables });
  const answer = await fetch(url, { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined);
  return data;
}

async function projectWithSession() {
  const { createProject } = await post('CreateProject', { input: newProject });
  const projectId = createProject.project.id;
  const { startSession } = await post('StartSession', { input: { projectId, title: 'Initial Setup' } });
  const sessionId = startSession.session.id;
  return { projectId, say: (content) => post('AddMessage', { input: { sessionId, role: 'USER', content } }) };
}

test('graphql-sse runs a query, replays and continues live', async () => {
  const client = createClient({ url, headers });
  for await (const { data } of client.iterate({ query: query.Viewer })) assert.match(data.viewer.email, /@/);
  const { projectId, say } = await projectWithSession();
  const heard = [];
  for await (const { data } of client.iterate({ query: query.ProjectEvents, variables: { projectId, afterRevision: 0 } })) {
    heard.push([data.projectEvents.revision, data.projectEvents.kind]);
    if (heard.length === 2) await say('live');
    if (heard.length === 3) break;
  }
  assert.deepEqual(heard, [[1, 'PROJECT_CREATED'], [2, 'SESSION_STARTED'], [3, 'MESSAGE_ADDED']]);
  client.dispose();
});

test('graphql-sse receives the reason for a refused subscription', async () => {
  const client = createClient({ url, headers });
  const results = [];
  const variables = { projectId: crypto.randomUUID() };
  for await (const result of client.iterate({ query: query.ProjectEvents, variables })) results.push(result);
  assert.equal(results.length, 1);
  assert.equal(results[0].errors[0].extensions.code, 'NOT_FOUND');
  client.dispose();
});

test('graphql-sse runs everything over one connection', async () => {
  const requests = [];
  const fetchFn = (input, init) => {
    requests.push(init.method);
    return fetch(input, init);
  };
  const client = createClient({
    url,
    // The client adds the token of its stream to the given object.
    headers: () => ({ ...headers }),
    singleConnection: true,
    fetchFn,
    retryAttempts: 0,
    lazyCloseTimeout: 5_000,
  });
  for await (const { data } of client.iterate({ query: query.Viewer })) assert.match(data.viewer.email, /@/);
  const projects = await Promise.all([projectWithSession(), projectWithSession()]);
  await Promise.all(
    projects.map(async ({ projectId, say }) => {
      const heard = [];
      const variables = { projectId, afterRevision: 0 };
      for await (const { data } of client.iterate({ query: query.ProjectEvents, variables })) {
        heard.push([data.projectEvents.revision, data.projectEvents.kind]);
        if (heard.length === 2) await say('live');
        if (heard.length === 3) break;
      }
      assert.deepEqual(heard, [[1, 'PROJECT_CREATED'], [2, 'SESSION_STARTED'], [3, 'MESSAGE_ADDED']]);
    }),
  );
  const refused = [];
  const variables = { projectId: crypto.randomUUID() };
  for await (const result of client.iterate({ query: query.ProjectEvents, variables })) refused.push(result);
  assert.deepEqual(refused.map(({ errors }) => errors[0].extensions.code), ['NOT_FOUND']);
  assert.equal(requests.filter((method) => method === 'PUT').length, 1);
  // The stream itself; each operation is a POST, and each ended subscription a DELETE.
  assert.deepEqual(requests.filter((method) => !method || method === 'GET').length, 1);
  await eventually(() => requests.filter((method) => method === 'DELETE').length === 2, 'both subscriptions have ended');
  client.dispose();
});

test('graphql-sse restores its single connection after a reconnect', async () => {
  const { projectId, say } = await projectWithSession();
  const streams = [];
  const fetchFn = async (input, init) => {
    if (init.method && init.method !== 'GET') return fetch(input, init);
    // Cuts the connection as a proxy would.
    const cut = new AbortController();
    streams.push(cut);
    init.signal.addEventListener('abort', () => cut.abort());
    return fetch(input, { ...init, signal: cut.signal });
  };
  const client = createClient({ url, headers: () => ({ ...headers }), singleConnection: true, fetchFn, retry: async () => {} });
  await say('first');
  const heard = [];
  for await (const { data } of client.iterate({ query: query.ProjectEvents, variables: { projectId, afterRevision: 2 } })) {
    heard.push(data.projectEvents.kind);
    if (heard.length === 1) streams[0].abort();
    if (heard.length === 2) break;
  }
  assert.deepEqual(heard, ['MESSAGE_ADDED', 'MESSAGE_ADDED']);
  client.dispose();
});

test('graphql-sse is refused with a wrong and an expired token, on one connection and on several', async () => {
  for (const token of ['no.such.token', await tokenFor(-60)]) {
    for (const singleConnection of [true, false]) {
      const client = createClient({ url, headers: () => ({ Authorization: `Bearer ${token}` }), singleConnection, retryAttempts: 0 });
      const results = (async () => {
        for await (const result of client.iterate({ query: query.Viewer })) assert.fail(JSON.stringify(result));
      })();
      await assert.rejects(results, ({ response }) => response?.status === 401);
      client.dispose();
    }
  }
});

test('Apollo receives events with multipart', async () => {
  const apollo = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() });
  const { projectId, say } = await projectWithSession();
  const heard = [];
  await new Promise((resolve, reject) => {
    const subscription = apollo
      .subscribe({ query: documents.ProjectEvents, variables: { projectId, afterRevision: 1 } })
      .subscribe({
        next({ data, error }) {
          if (error) return reject(error);
          heard.push([data.projectEvents.revision, data.projectEvents.kind]);
          if (heard.length === 1) say('live').catch(reject);
          if (heard.length === 2) {
            subscription.unsubscribe();
            resolve();
          }
        },
        error: reject,
      });
  });
  assert.deepEqual(heard, [[2, 'SESSION_STARTED'], [3, 'MESSAGE_ADDED']]);
  apollo.stop();
});
