// The db package's tarball: what it declares, what it is in empty applications, and that it works in other runtimes. It is built
// with what `npm ci` installs in ../typescript.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { EdgeRuntime } from 'edge-runtime';
import { build } from 'vite';

const { BASE_URL, TOKEN, DATABASE_URL = '' } = process.env;
const url = new URL('/graphql', BASE_URL).href;
const own = (path) => fileURLToPath(new URL(path, import.meta.url));
const execute = promisify(execFile);
const run = (command, args, options = {}) =>
  execute(command, args, { maxBuffer: 1 << 26, ...options }).catch(({ stdout, stderr, message }) => {
    throw new Error(`${message}\n${stdout}${stderr}`);
  });
const tool = (name, args, options) => run(own(`node_modules/.bin/${name}`), args, options);

// Below this folder, so that what builds an application is found, and is installed once.
const folder = await mkdtemp(own('app-'));
after(() => rm(folder, { recursive: true, force: true }));
const source = own('../typescript/db');
await run(process.execPath, ['build.mjs'], { cwd: source });
// npm here runs no scripts (.npmrc), so the package is built before.
const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: source });
const [packed] = Object.values(JSON.parse(stdout.slice(stdout.indexOf('['))));
const tarball = join(folder, packed.filename);

/** An application with nothing but the tarball. */
async function application(name, files) {
  const app = join(folder, name);
  await mkdir(app, { recursive: true });
  if (files) await cp(files, app, { recursive: true });
  await writeFile(join(app, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
  await run('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund', tarball], { cwd: app });
  return app;
}

// Its own package would put the binary in place by a script.
const bun = own(`node_modules/@oven/bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}/bin/bun`);

// What does not depend on the database is checked on one of them.
const once = { skip: DATABASE_URL.startsWith('postgres') && 'the same on each database' };

test('the tarball has what its entries name, and is declared as its tools want it', once, async (t) => {
  const names = packed.files.map(({ path }) => path);
  for (const name of ['README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts', 'dist/react.js', 'dist/documents.js']) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => !/^(?:dist\/.*\.(?:js|d\.ts)|README\.md|package\.json)$/.test(name)), []);
  await tool('publint', ['run', tarball, '--strict']);
  await tool('attw', [tarball, '--profile', 'esm-only']);
  t.diagnostic(`${names.length} files, ${packed.size} bytes`);
});

test('an empty Vite project compiles as strictly as can be, and builds', once, async (t) => {
  const app = await application('vite', own('vite'));
  await tool('tsc', ['-p', app]);
  await build({ root: app, logLevel: 'error' });
  const assets = await readdir(join(app, 'dist/assets'));
  assert.ok(assets.some((name) => name.startsWith('index')), assets.join());
  t.diagnostic(assets.join(' '));
});

test('the code of the README runs, and compiles as strictly as can be', async () => {
  const readme = await readFile(join(source, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^( *)```(js|tsx?)\n([^]*?)^ *```$/gm)].map(([, indent, kind, code]) => [kind, code.replaceAll(`\n${indent}`, '\n').slice(indent.length)]);
  assert.deepEqual(blocks.map(([kind]) => kind), ['ts', 'js', 'ts', 'ts', 'tsx']);
  const app = await application('readme', own('vite'));
  await writeFile(join(app, 'src/auth.ts'), "export const getAccessToken = async () => sessionStorage.getItem('token');\n");
  for (const [at, [kind, code]] of blocks.entries()) await writeFile(join(app, `src/readme${at}.${kind}`), code.replace('http://127.0.0.1:8080/graphql', url));
  await tool('tsc', ['-p', app]);
  const { stdout } = await run(process.execPath, [join(app, 'src/readme1.js')], { cwd: app });
  assert.match(stdout, /name: 'My agent'[^]*totalFiles: 1/);
});

test('an empty Next.js project compiles as strictly as can be, builds, and serves', once, async () => {
  const app = await application('next', own('next'));
  await tool('tsc', ['-p', app]);
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', PROJECT: `Next ${crypto.randomUUID()}` };
  await tool('next', ['build'], { cwd: app, env });
  const made = await fetch(url, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: `mutation { createProject(input: {name: "${env.PROJECT}", initialPrompt: "p", config: {}}) { revision } }` }),
  });
  assert.equal(made.status, 200);
  const server = spawn(own('node_modules/.bin/next'), ['start', '--port', '0', '--hostname', '127.0.0.1'], { cwd: app, env });
  try {
    let log = '';
    const address = await new Promise((resolve, reject) => {
      const read = (chunk) => {
        log += chunk;
        const [found] = /http:\/\/127\.0\.0\.1:[1-9]\d*/.exec(log) ?? [];
        if (found && /Ready/.test(log)) resolve(found);
      };
      server.stdout.on('data', read);
      server.stderr.on('data', read);
      server.on('exit', () => reject(new Error(log)));
    });
    const page = await (await fetch(address)).text();
    assert.match(page, new RegExp(`<h1>${env.PROJECT}</h1><p>waiting</p>`));
    const { email } = await (await fetch(`${address}/edge`)).json();
    assert.match(email, /@/);
  } finally {
    server.kill();
  }
});

test('it works in Node, Deno and Bun', async (t) => {
  const app = await application('runtimes');
  await cp(own('smoke.mjs'), join(app, 'smoke.mjs'));
  await writeFile(join(app, 'main.mjs'), `import { smoke } from './smoke.mjs';\nconsole.log(await smoke(${JSON.stringify(url)}, ${JSON.stringify(TOKEN)}));\n`);
  const { expected } = await import(join(app, 'smoke.mjs'));
  for (const [command, ...args] of [[process.execPath], [own('node_modules/.bin/deno'), 'run', '--allow-net', '--node-modules-dir=manual'], [bun, 'run']]) {
    const { stdout } = await run(command, [...args, join(app, 'main.mjs')], { cwd: app });
    assert.equal(stdout.trim(), expected, command);
  }
  t.diagnostic(`Node ${process.version}`);
});

test('it works in the edge runtime', async () => {
  const app = await application('edge');
  await cp(own('smoke.mjs'), join(app, 'smoke.mjs'));
  const { expected } = await import(join(app, 'smoke.mjs'));
  const main = `import { smoke } from './smoke.mjs';\naddEventListener('fetch', (event) => event.respondWith(smoke(${JSON.stringify(url)}, ${JSON.stringify(TOKEN)}).then((text) => new Response(text), (error) => new Response(String(error.stack), { status: 500 }))));\n`;
  await writeFile(join(app, 'main.mjs'), main);
  const output = { codeSplitting: false };
  await build({ root: app, logLevel: 'error', build: { lib: { entry: 'main.mjs', formats: ['iife'], name: 'main', fileName: 'main' }, rolldownOptions: { output } } });
  const [name] = await readdir(join(app, 'dist'));
  const edge = new EdgeRuntime({ initialCode: await readFile(join(app, 'dist', name), 'utf8') });
  const response = await edge.dispatchFetch('http://localhost/');
  assert.equal(await response.text(), expected);
});
