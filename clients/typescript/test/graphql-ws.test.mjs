// The reference client of graphql-transport-ws.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { print } from 'graphql';

import { documents, eventually, headers, newProject, socketClient } from './server.mjs';

const query = Object.fromEntries(Object.entries(documents).map(([name, document]) => [name, print(document)]));

/** The only result of a query or mutation. */
async function ask(client, operation, variables) {
  for await (const { data, errors } of client.iterate({ query: query[operation], variables })) {
    assert.equal(errors, undefined);
    return data;
  }
  assert.fail(`${operation} has no result`);
}

async function projectWithSession(client) {
  const { createProject } = await ask(client, 'CreateProject', { input: newProject });
  const projectId = createProject.project.id;
  const { startSession } = await ask(client, 'StartSession', { input: { projectId, title: 'Initial Setup' } });
  return { projectId, sessionId: startSession.session.id };
}

const say = (client, sessionId, content) =>
  ask(client, 'AddMessage', { input: { sessionId, role: 'USER', content } });

test('a query and mutations run on one socket', async () => {
  const client = socketClient();
  const { viewer } = await ask(client, 'Viewer');
  assert.match(viewer.email, /@/);
  const { projectId, sessionId } = await projectWithSession(client);
  const { addMessage } = await say(client, sessionId, 'Create a simple voice agent');
  assert.equal(addMessage.revision, 3);
  const { project } = await ask(client, 'ProjectPage', { id: projectId });
  assert.equal(project.revision, 3);
  await client.dispose();
});

test('a subscription replays, continues live, and ends when the client unsubscribes', async () => {
  const client = socketClient();
  const { projectId, sessionId } = await projectWithSession(client);
  const heard = [];
  for await (const { data } of client.iterate({
    query: query.ProjectEvents,
    variables: { projectId, afterRevision: 0 },
  })) {
    heard.push([data.projectEvents.revision, data.projectEvents.kind]);
    if (heard.length === 2) await say(client, sessionId, 'live');
    if (heard.length === 3) break;
  }
  assert.deepEqual(heard, [[1, 'PROJECT_CREATED'], [2, 'SESSION_STARTED'], [3, 'MESSAGE_ADDED']]);
  await client.dispose();
});

test('a fresh token is accepted on an open socket with a running subscription', async () => {
  const { projectId, sessionId } = await projectWithSession(socketClient());
  let socket;
  const client = socketClient({ on: { connected: (connected) => (socket = connected) } });
  const events = client.iterate({ query: query.ProjectEvents, variables: { projectId, afterRevision: 2 } });
  const next = events.next();
  await eventually(() => socket, 'a socket');

  const pong = new Promise((resolve) => client.on('pong', (received, payload) => received && resolve(payload)));
  socket.send(JSON.stringify({ type: 'ping', payload: headers }));
  const { exp } = JSON.parse(Buffer.from(headers.Authorization.split('.')[1], 'base64url'));
  assert.deepEqual(await pong, { tokenExpiresAt: exp });

  await say(client, sessionId, 'still here');
  const { value } = await next;
  assert.equal(value.data.projectEvents.revision, 3);
  await events.return();
  await client.dispose();
});

test('a subscription that cannot start reports its errors to the observer', async () => {
  const client = socketClient();
  const variables = { projectId: crypto.randomUUID() };
  const problem = await new Promise((resolve, reject) => {
    client.subscribe(
      { query: query.ProjectEvents, variables },
      { next: reject, error: resolve, complete: () => reject(new Error('completed')) },
    );
  });
  assert.equal(problem[0].extensions.code, 'NOT_FOUND');
  await client.dispose();
});

test('a subscriber whose connection is cut repeatedly receives everything exactly once', async () => {
  const MESSAGES = 30;
  const writer = socketClient();
  const { projectId, sessionId } = await projectWithSession(writer);

  let socket;
  let connections = 0;
  const listener = socketClient({
    retryAttempts: 100,
    shouldRetry: () => true,
    on: {
      connected(opened) {
        socket = opened;
        connections += 1;
      },
    },
  });
  // The client sends the same payload again when it reconnects, so the payload must contain the last revision received.
  const payload = { query: query.ProjectEvents, variables: { projectId, afterRevision: 2 } };
  const heard = [];
  const done = new Promise((resolve, reject) => {
    const stop = listener.subscribe(payload, {
      next({ data, errors }) {
        if (errors) return reject(errors);
        const { revision, message } = data.projectEvents;
        payload.variables = { ...payload.variables, afterRevision: revision };
        heard.push(`${revision} ${message.content}`);
        if (heard.length % 5 === 0) socket.terminate();
        if (heard.length === MESSAGES) {
          stop();
          resolve();
        }
      },
      error: reject,
      complete() {},
    });
  });
  for (let at = 0; at < MESSAGES; at += 1) await say(writer, sessionId, `message ${at}`);
  await done;
  assert.deepEqual(heard, Array.from({ length: MESSAGES }, (_, at) => `${at + 3} message ${at}`));
  assert.ok(connections > 3, `only ${connections} connections`);
  await Promise.all([writer.dispose(), listener.dispose()]);
});

test('an invalid token is final: the socket closes with 4403', async () => {
  const client = socketClient({ connectionParams: { Authorization: 'Bearer nonsense' }, shouldRetry: () => false });
  const problem = await ask(client, 'Viewer').catch((error) => error);
  assert.equal(problem.code, 4403);
  await client.dispose();
});
