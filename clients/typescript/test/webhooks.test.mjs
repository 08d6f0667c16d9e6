// Messages of webhooks, verified by the library of Standard Webhooks. The server needs WEBHOOK_SECRET and
// WEBHOOK_ALLOW_NETWORKS=127.0.0.1.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { Webhook } from 'standardwebhooks';

import { eventually, headers, newProject, url } from './server.mjs';

async function ask(query, variables) {
  const body = JSON.stringify({ query, variables });
  const response = await fetch(url, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body });
  const { data, errors } = await response.json();
  assert.deepEqual(errors, undefined);
  return data;
}

/** A receiver that records the messages as they arrive. */
async function receiver(t) {
  const received = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    received.push({ headers: request.headers, body });
    response.writeHead(204).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return { received, url: `http://127.0.0.1:${server.address().port}/hook` };
}

test('the library of Standard Webhooks verifies messages, also while a secret is rotated', async (t) => {
  const { received, url } = await receiver(t);
  const { createProject } = await ask('mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }', {
    input: newProject,
  });
  const { id } = createProject.project;
  const { createWebhook } = await ask(
    'mutation($input: CreateWebhookInput!) { createWebhook(input: $input) { secret webhook { id } } }',
    { input: { projectId: id, url } },
  );
  const write = async (path, content) => {
    const input = { projectId: id, path, content };
    await ask('mutation($input: CreateFileInput!) { createFile(input: $input) { revision } }', { input });
    return eventually(() => received.find(({ body }) => body.includes(JSON.stringify(path))), path);
  };

  const first = await write('ä "quoted" 😀.py', 'print("\u2028")\n');
  const event = new Webhook(createWebhook.secret).verify(first.body, first.headers);
  assert.equal(event.type, 'FILES_CHANGED');
  assert.deepEqual(event.data.project, { id });
  assert.equal(event.data.revision, 2);
  assert.deepEqual(event.data.changes.nodes.map(({ type, path }) => [type, path]), [['CREATE', 'ä "quoted" 😀.py']]);
  assert.equal(first.headers['webhook-id'], event.data.id);

  // A changed body, id or time, and another secret, are refused.
  const { rotateWebhookSecret } = await ask(
    'mutation($input: RotateWebhookSecretInput!) { rotateWebhookSecret(input: $input) { secret } }',
    { input: { webhookId: createWebhook.webhook.id } },
  );
  const verify = (secret, message, changes = {}) =>
    new Webhook(secret).verify(changes.body ?? message.body, { ...message.headers, ...changes.headers });
  const refused = [
    { body: `${first.body} ` },
    { headers: { 'webhook-id': `${first.headers['webhook-id']}0` } },
    { headers: { 'webhook-timestamp': `${Number(first.headers['webhook-timestamp']) + 1}` } },
  ];
  for (const changes of refused) assert.throws(() => verify(createWebhook.secret, first, changes));
  assert.throws(() => verify(rotateWebhookSecret.secret, first));

  // During the overlap both secrets verify a message, and without one only the newest does.
  const second = await write('b.py', '');
  for (const secret of [createWebhook.secret, rotateWebhookSecret.secret]) verify(secret, second);
  const last = await ask('mutation($input: RotateWebhookSecretInput!) { rotateWebhookSecret(input: $input) { secret } }', {
    input: { webhookId: createWebhook.webhook.id, overlapSeconds: 0 },
  });
  const third = await write('c.py', '');
  verify(last.rotateWebhookSecret.secret, third);
  for (const secret of [createWebhook.secret, rotateWebhookSecret.secret]) assert.throws(() => verify(secret, third));
});
