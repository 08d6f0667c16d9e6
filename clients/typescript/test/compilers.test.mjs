// The compilers that clients run over the schema: graphql-codegen with tsc, and Relay's.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { codegen } from '@graphql-codegen/core';
import * as typedDocumentNode from '@graphql-codegen/typed-document-node';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { parse } from 'graphql';

import { operationsFile, schemaFile } from './server.mjs';

const own = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'antiphon-clients-'));
await symlink(own('node_modules'), join(folder, 'node_modules'));
after(() => rm(folder, { recursive: true, force: true }));

/** Runs a script of a package, and returns its output. If it fails, its output is the error. */
function run(script, args) {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [own(`node_modules/${script}`), ...args], { cwd: folder }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${script} failed:\n${stdout}${stderr}`));
      else resolve(stdout + stderr);
    });
  });
}

test('graphql-codegen generates types from the operations, and tsc --strict accepts code that uses them', async (t) => {
  const generated = await codegen({
    filename: 'generated.ts',
    schema: parse(await readFile(schemaFile, 'utf8')),
    documents: [{ location: 'operations.graphql', document: parse(await readFile(operationsFile, 'utf8')) }],
    plugins: [{ 'typescript-operations': {} }, { 'typed-document-node': {} }],
    pluginMap: { 'typescript-operations': typescriptOperations, 'typed-document-node': typedDocumentNode },
    config: {
      strictScalars: true,
      scalars: { DateTime: 'string', Base64: 'string', JSON: 'unknown' },
      useTypeImports: true,
    },
  });
  await writeFile(join(folder, 'generated.ts'), generated);
  await cp(own('typed.ts'), join(folder, 'typed.ts'));
  const compilerOptions = {
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: true,
    target: 'es2022',
    module: 'nodenext',
    allowImportingTsExtensions: true,
    verbatimModuleSyntax: true,
    lib: ['es2023', 'dom'],
    types: [],
  };
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }));
  await run('typescript/bin/tsc', ['-p', 'tsconfig.json']);
  t.diagnostic(`graphql-codegen: ${generated.split('\n').length} lines of types, accepted by tsc --strict`);
});

test('the Relay compiler accepts the schema, with fragments that refetch and paginate', async (t) => {
  await mkdir(join(folder, 'artifacts'));
  await cp(own('relay'), join(folder, 'relay'), { recursive: true });
  await cp(schemaFile, join(folder, 'schema.graphql'));
  const config = {
    src: './relay',
    schema: './schema.graphql',
    language: 'typescript',
    artifactDirectory: './artifacts',
    customScalarTypes: { DateTime: 'string', Base64: 'string', JSON: 'unknown' },
  };
  await writeFile(join(folder, 'relay.config.json'), JSON.stringify(config));
  await run('relay-compiler/cli.js', ['relay.config.json']);
  const artifacts = (await readdir(join(folder, 'artifacts'))).sort();
  assert.deepEqual(artifacts, [
    'filesChangedSubscription.graphql.ts',
    'filesCreateMutation.graphql.ts',
    'filesLineQuery.graphql.ts',
    'filesLogQuery.graphql.ts',
    'filesPageQuery.graphql.ts',
    'filesPaginationQuery.graphql.ts',
    'files_line.graphql.ts',
    'files_log.graphql.ts',
    'files_project.graphql.ts',
  ]);
  // A fragment refetches through the Node interface, and pages by cursors that the compiler adds.
  const pagination = await readFile(join(folder, 'artifacts', 'filesPaginationQuery.graphql.ts'), 'utf8');
  for (const word of ['node(id: $id)', 'hasNextPage', 'endCursor', '__typename']) {
    assert.ok(pagination.includes(word), `filesPaginationQuery lacks ${word}`);
  }
  t.diagnostic(`Relay: ${artifacts.length} artifacts`);
});
