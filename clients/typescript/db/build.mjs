// Builds the package into a folder, `dist` beside this file where none is named: graphql-codegen makes the types of its operations
// from the schema, tsc the others, esbuild one small file an entry. Needs what `npm ci` installs in the folder above.
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { codegen } from '@graphql-codegen/core';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { build } from 'esbuild';
import { Kind, parse, print, stripIgnoredCharacters, visit } from 'graphql';

const own = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2] ?? own('dist');
const SOURCES = ['additions.ts', 'arguments.ts', 'client.ts', 'connection.ts', 'index.ts', 'live.ts', 'print.ts', 'react.ts', 'rows.ts', 'service.ts', 'transfer.ts', 'types.ts'];
const DOCUMENTS = ['operations.graphql', 'live.graphql', 'api.graphql'];
const ENTRIES = ['index', 'documents', 'print', 'react', 'transfer'];

const document = parse((await Promise.all(DOCUMENTS.map((name) => readFile(own(name), 'utf8')))).join('\n'));
const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
const fragments = new Map(
  document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION).map((each) => [each.name.value, each]),
);

/** A definition's text with the fragments that it spreads. */
function textOf(definition) {
  const used = new Set([definition]);
  for (const each of used) visit(each, { FragmentSpread: ({ name }) => void used.add(fragments.get(name.value)) });
  return stripIgnoredCharacters([...used].map(print).join('\n'));
}

const types = await codegen({
  filename: 'documents.ts',
  schema: parse(await readFile(own('../../../schema.graphql'), 'utf8')),
  documents: [{ location: 'operations.graphql', document }],
  plugins: [{ 'typescript-operations': {} }],
  pluginMap: { 'typescript-operations': typescriptOperations },
  config: { strictScalars: true, scalars: { DateTime: 'string', Base64: 'string', JSON: 'unknown' }, skipTypename: true },
});
const capital = (word) => word[0].toUpperCase() + word.slice(1);
const names = operations.map(({ name, operation }) => [name.value, capital(name.value) + capital(operation)]);
const map = names.map(([name, kind]) => `  ${name}: [${kind}, ${kind}Variables];`);
const texts = operations.map((each) => `  ${each.name.value}: ${JSON.stringify(textOf(each))},`);

/** An operation of api.graphql as a method: its result is the field that it is named after, at the root or below it. */
function method({ name: { value: name }, selectionSet, variableDefinitions }) {
  const [root] = selectionSet.selections;
  const isRoot = root.name.value === name;
  const field = `Operations['${name}'][0]['${root.name.value}']`;
  const result = isRoot ? `NonNullable<${field}>` : `NonNullable<${field}>['${name}']`;
  const takesInput = variableDefinitions[0]?.variable.name.value === 'input';
  const isOptional = variableDefinitions.every(({ type }) => type.kind !== Kind.NON_NULL_TYPE);
  const values = `Operations['${name}'][1]${takesInput ? "['input']" : ''}`;
  return `  ${name}(${takesInput ? 'input' : 'variables'}${isOptional ? '?' : ''}: ${values}): Promise<${result}>;`;
}
const methods = operations.filter(({ name, operation }) => /^[a-z]/.test(name.value) && operation !== 'subscription').map(method);
const generated = [
  types,
  '/** The results and variables of the operations, by their names. */',
  'export interface Operations {',
  ...map,
  '}',
  '/** The calls of `db.api`. */',
  'export interface Api {',
  ...methods,
  '}',
  '/** The texts of the operations, with their types: pass them to `db.query`. */',
  'export const documents = {',
  ...texts,
  '} as { [Name in keyof Operations]: string & { __apiType?: (variables: Operations[Name][1]) => Operations[Name][0] } };',
  '',
].join('\n');

// Beside the sources, so that nothing but types of the language itself is found.
const work = await mkdtemp(own('build-'));
try {
  await writeFile(join(work, 'documents.ts'), generated);
  for (const name of SOURCES) await copyFile(own(name), join(work, name));
  await mkdir(out, { recursive: true });
  const compilerOptions = {
    strict: true,
    noUncheckedIndexedAccess: true,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: '.',
    outDir: out,
    target: 'es2022',
    module: 'nodenext',
    verbatimModuleSyntax: true,
    lib: ['es2023', 'dom'],
    types: [],
  };
  await writeFile(join(work, 'package.json'), '{ "type": "module" }');
  await writeFile(join(work, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['index.ts', 'react.ts'] }));
  execFileSync(process.execPath, [own('../node_modules/typescript/bin/tsc'), '-p', work], { stdio: 'inherit' });
  await build({
    entryPoints: ENTRIES.map((name) => join(work, `${name}.ts`)),
    outdir: out,
    bundle: true,
    // The entries share their modules by importing each other.
    external: ['react', ...ENTRIES.map((name) => `./${name}.js`)],
    format: 'esm',
    target: 'es2022',
    minify: true,
    logLevel: 'warning',
  });
} finally {
  await rm(work, { recursive: true, force: true });
}
