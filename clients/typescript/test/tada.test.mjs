// gql.tada: documents that the compiler types by the schema, without generated code; sent by the db package and by graphql-sse.
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { minifyIntrospection, outputIntrospectionFile } from 'gql.tada/internal';
import { buildSchema, introspectionFromSchema, print } from 'graphql';
import { createClient } from 'graphql-sse';

import { compile, install, own, tokenFor } from './package.mjs';
import { schemaFile, url } from './server.mjs';

const app = await install();
const { AntiphonError, DatabaseService } = await app.entry('index');
const introspection = introspectionFromSchema(buildSchema(await readFile(schemaFile, 'utf8')));
const environment = outputIntrospectionFile(minifyIntrospection(introspection), { fileType: '.d.ts', shouldPreprocess: true });
await writeFile(join(app.folder, 'graphql-env.d.ts'), environment);
await cp(own('tada.ts'), join(app.folder, 'tada.ts'));
await compile(app, 'tada.ts');
const { create, Events, rename, Viewer } = await import(pathToFileURL(join(app.folder, 'out/tada.js')));
const service = (token = process.env.TOKEN) => new DatabaseService({ url, token });

test('a query and mutations, typed', async () => {
  assert.match((await service().query(Viewer)).viewer.email, /@/);
  const { id, name } = await create(service());
  assert.equal(name, 'From gql.tada');
  assert.equal(await rename(service(), id, 'Renamed'), 2);
});

test('a subscription receives events, and goes on after a reconnect', async () => {
  const { id } = await create(service());
  const client = createClient({ url, headers: { Authorization: `Bearer ${process.env.TOKEN}` } });
  const revisions = [];
  for (let connection = 0; connection < 2; connection += 1) {
    const variables = { id, after: revisions.at(-1) ?? 0 };
    for await (const { data } of client.iterate({ query: print(Events), variables })) {
      if (revisions.push(data.projectEvents.revision) % 2 === 0) break;
      await rename(service(), id, `Name ${revisions.length}`);
    }
    await rename(service(), id, `While away ${connection}`);
  }
  assert.deepEqual(revisions, [1, 2, 3, 4]);
  client.dispose();
});

test('a wrong and an expired token are refused', async () => {
  for (const token of ['no.such.token', await tokenFor(-60)]) {
    await assert.rejects(service(token).query(Viewer), (error) => error instanceof AntiphonError && error.code === 'UNAUTHENTICATED' && error.status === 401);
  }
});
