// Builds the package into a folder, `dist` beside this file where none is named: graphql-codegen makes the types of its operations
// from the schema, tsc the others, esbuild a file for each entry and for each part that is loaded later. Needs what `npm ci` installs in the folder above.
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { codegen } from '@graphql-codegen/core';
import * as typescriptOperations from '@graphql-codegen/typescript-operations';
import { build } from 'esbuild';
import { concatAST, Kind, parse, print, stripIgnoredCharacters } from 'graphql';

const own = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2] ?? own('dist');
const SOURCES = (await readdir(own('.'))).filter((name) => /^[a-z]+\.ts$/.test(name));
const DOCUMENTS = ['operations', 'edits', 'history', 'live', 'api'];
/** What is a file of its own: an entry, or what is loaded when it is first used. */
const FILES = [
  'index', 'documents', 'react', 'edits', 'history', 'live', 'print', 'projectfile', 'transfer', 'writing', 'edits-texts', 'history-texts', 'live-texts', 'api-texts',
];

const parts = await Promise.all(DOCUMENTS.map(async (name) => parse(await readFile(own(`${name}.graphql`), 'utf8'))));
const document = concatAST(parts);
const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
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

/** The module of a document's texts: its operations and fragments by their names. */
function textsOf({ definitions }) {
  const texts = definitions.map((each) => `  ${each.name.value}: ${JSON.stringify(stripIgnoredCharacters(print(each)))},\n`);
  return `export const texts = {\n${texts.join('')}};\n`;
}

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
  "import { texts as api } from './api-texts.js';",
  "import { texts as edits } from './edits-texts.js';",
  "import { texts as history } from './history-texts.js';",
  "import { texts as live } from './live-texts.js';",
  "import { textOf } from './texts.js';",
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
  'export const documents = Object.fromEntries(',
  `  ${JSON.stringify(names.map(([name]) => name))}.map((name) => [name, textOf(name, { ...edits, ...history, ...live, ...api })]),`,
  ') as { [Name in keyof Operations]: string & { __apiType?: (variables: Operations[Name][1]) => Operations[Name][0] } };',
  '',
].join('\n');

/** Bundles the files. What `db` needs at once is core.js, which the others import from. */
async function bundle(work) {
  let core = new Set();
  const external = {
    name: 'external',
    setup: ({ onResolve }) => {
      onResolve({ filter: /^\.\// }, ({ path }) => {
        const name = path.slice(2, -'.js'.length);
        if (FILES.includes(name)) return { path, external: true };
        return core.has(name) ? { path: './core.js', external: true } : undefined;
      });
    },
  };
  // Short lines: Node.js prints the whole line of an uncaught error.
  const output = { outdir: out, format: 'esm', target: 'es2022', minify: true, lineLimit: 200 };
  const options = { ...output, bundle: true, external: ['react'], plugins: [external], logLevel: 'warning' };
  const { metafile } = await build({ ...options, entryPoints: [join(work, 'index.ts')], write: false, metafile: true });
  const modules = Object.keys(metafile.inputs).map((path) => basename(path, '.ts')).filter((name) => name !== 'index');
  await writeFile(join(work, 'core.ts'), modules.map((name) => `export * from './${name}.js';\n`).join(''));
  await build({ ...options, entryPoints: [join(work, 'core.ts')] });
  core = new Set(modules);
  await build({ ...options, entryPoints: FILES.map((name) => join(work, `${name}.ts`)) });
}

// Beside the sources, so that nothing but types of the language itself is found.
const work = await mkdtemp(own('build-'));
try {
  await writeFile(join(work, 'documents.ts'), generated);
  for (const [index, name] of DOCUMENTS.entries()) await writeFile(join(work, `${name}-texts.ts`), textsOf(parts[index]));
  for (const name of SOURCES) await copyFile(own(name), join(work, name));
  await rm(out, { recursive: true, force: true });
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
  await bundle(work);
} finally {
  await rm(work, { recursive: true, force: true });
}
