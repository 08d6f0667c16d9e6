// Listening by HTTP: the reference client of graphql-sse, and Apollo Client by multipart.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApolloClient, HttpLink, InMemoryCache } from '@apollo/client';
import { print } from 'graphql';
import { createClient } from 'graphql-sse';

import { documents, headers, newProject, url } from './server.mjs';

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

test('graphql-sse runs a query and hears the past and the present', async () => {
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

test('graphql-sse is told why a subscription is refused', async () => {
  const client = createClient({ url, headers });
  const results = [];
  const variables = { projectId: crypto.randomUUID() };
  for await (const result of client.iterate({ query: query.ProjectEvents, variables })) results.push(result);
  assert.equal(results.length, 1);
  assert.equal(results[0].errors[0].extensions.code, 'NOT_FOUND');
  client.dispose();
});

test('Apollo hears by multipart', async () => {
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
