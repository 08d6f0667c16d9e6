// graphql-codegen's client-preset with persisted documents, against a server that answers registered documents alone.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { preset } from '@graphql-codegen/client-preset';
import { codegen } from '@graphql-codegen/core';
import { parse } from 'graphql';
import { createClient } from 'graphql-sse';

import { own, tokenFor } from './package.mjs';
import { eventually, operationsFile, schemaFile } from './server.mjs';

const folder = await mkdtemp(join(tmpdir(), 'antiphon-preset-'));
after(() => rm(folder, { recursive: true, force: true }));

/** What the preset writes: a module of typed documents and the manifest of their ids. */
const files = await (async () => {
  const document = parse(await readFile(operationsFile, 'utf8'));
  const outputs = await preset.buildGeneratesSection({
    baseOutputDir: 'gql/',
    schema: parse(await readFile(schemaFile, 'utf8')),
    documents: [{ location: 'operations.graphql', document, rawSDL: await readFile(operationsFile, 'utf8') }],
    config: {},
    presetConfig: { persistedDocuments: { mode: 'embedHashInDocument', hashPropertyName: 'documentId' } },
    plugins: [],
    pluginMap: {},
  });
  const written = {};
  for (const output of outputs) written[output.filename.replace('gql/', '')] = await codegen(output);
  return written;
})();
const manifest = JSON.parse(files['persisted-documents.json']);
const id = (name) => Object.keys(manifest).find((key) => new RegExp(`(?:query|mutation|subscription) ${name}\\b`).test(manifest[key]));

/** A server beside the one under test, with its database and its secret. */
async function documentsOnly() {
  await writeFile(join(folder, 'documents.json'), files['persisted-documents.json']);
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address();
  free.close();
  const env = { ...process.env, LISTEN: `127.0.0.1:${port}`, DOCUMENTS: join(folder, 'documents.json'), DOCUMENTS_ONLY: 'true' };
  const server = spawn(process.env.ANTIPHON ?? own('../../target/debug/antiphon'), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (chunk) => (log += chunk));
  after(() => server.kill());
  const url = `http://127.0.0.1:${port}`;
  await eventually(() => (assert.equal(server.exitCode, null, log), fetch(`${url}/readyz`).then(({ ok }) => ok, () => false)), 'the server');
  return `${url}/graphql`;
}

const url = await documentsOnly();

async function post(body, token = process.env.TOKEN) {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/graphql-response+json', Authorization: `Bearer ${token}` };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
}
const ask = async (name, variables) => (await post({ documentId: id(name), variables })).data;

test('the preset embeds the ids that its manifest has', () => {
  for (const key of Object.keys(manifest)) assert.ok(files['graphql.ts'].includes(key), key);
  assert.ok(files['graphql.ts'].includes('ViewerDocument'));
});

test('a query and a mutation by their ids, and nothing else', async () => {
  assert.match((await ask('Viewer')).viewer.email, /@/);
  const { createProject } = await ask('CreateProject', { input: { name: 'Preset', initialPrompt: 'p', config: {} } });
  assert.equal(createProject.project.name, 'Preset');
  // Apollo's link sends the hash as an extension.
  const sha256Hash = id('Viewer').replace(/^.*:/, '');
  const linked = await post({ extensions: { persistedQuery: { version: 1, sha256Hash } } });
  assert.match(linked.data.viewer.email, /@/);
  const other = await post({ query: '{ viewer { id } }' });
  assert.deepEqual([other.data, other.errors.length], [undefined, 1]);
});

test('a subscription receives events by its id, and goes on after a reconnect', async () => {
  const { createProject } = await ask('CreateProject', { input: { name: 'Preset', initialPrompt: 'p', config: {} } });
  const projectId = createProject.project.id;
  const client = createClient({ url, headers: { Authorization: `Bearer ${process.env.TOKEN}` } });
  const revisions = [];
  const rename = (name) => ask('RenameProject', { input: { id: projectId, name } });
  for (let connection = 0; connection < 2; connection += 1) {
    const variables = { projectId, afterRevision: revisions.at(-1) ?? 0 };
    for await (const { data, errors } of client.iterate({ documentId: id('ProjectEvents'), variables })) {
      assert.equal(errors, undefined);
      if (revisions.push(data.projectEvents.revision) % 2 === 0) break;
      await rename(`Name ${revisions.length}`);
    }
    await rename(`While away ${connection}`);
  }
  assert.deepEqual(revisions, [1, 2, 3, 4]);
  client.dispose();
});

test('a wrong and an expired token are refused', async () => {
  for (const token of ['no.such.token', await tokenFor(-60)]) {
    const { status, errors } = await post({ documentId: id('Viewer') }, token);
    assert.deepEqual([status, errors[0].extensions.code], [401, 'UNAUTHENTICATED']);
  }
});
