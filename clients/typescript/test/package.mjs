// The package as an application has it: built, and in a `node_modules` of its own.
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect as connectTo, createServer } from 'node:net';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const own = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** A folder of an application below this one, so that it finds what is installed here, with the package installed. */
export async function install() {
  const folder = await mkdtemp(own('app-'));
  after(() => rm(folder, { recursive: true, force: true }));
  const node = (...args) =>
    run(process.execPath, args, { cwd: folder }).catch(({ stdout, stderr, message }) => {
      throw new Error(`${message}\n${stdout}${stderr}`);
    });
  const installed = join(folder, 'node_modules/antiphon-db');
  await mkdir(installed, { recursive: true });
  await cp(own('db/package.json'), join(installed, 'package.json'));
  await node(own('db/build.mjs'), join(installed, 'dist'));
  const entry = (name) => import(pathToFileURL(join(installed, `dist/${name}.js`)));
  return { folder, installed, node, entry };
}

/** The token of the tests' user with another end, or with other claims. */
export async function tokenFor(seconds, claims = {}) {
  const { TOKEN, JWT_SECRET, DATABASE_URL } = process.env;
  const secret = JWT_SECRET || (await readFile(`${DATABASE_URL.replace('sqlite://', '')}.secret`, 'utf8')).trim();
  const [head, present] = TOKEN.split('.');
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  const own = { ...JSON.parse(Buffer.from(present, 'base64url')), exp, ...claims };
  const text = `${head}.${Buffer.from(JSON.stringify(own)).toString('base64url')}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** Compiles modules that use the installed package, as strictly as an application can. */
export async function compile({ folder, node }, ...files) {
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, target: 'es2022',
    module: 'nodenext', lib: ['es2023', 'dom', 'dom.iterable'], types: [], rootDir: '.', outDir: 'out',
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  await node(own('node_modules/typescript/bin/tsc'), '-p', folder);
}

/** A proxy before the server that never answers requests with a text, and counts their connections. */
export async function silentProxy(url, text) {
  const held = new Set();
  const server = createHttpServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (text.test(body)) {
      held.add(response);
      response.on('close', () => held.delete(response));
      return;
    }
    const { host: _, connection: __, ...headers } = request.headers;
    const answer = await fetch(url, { method: 'POST', headers, body });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') });
    response.end(await answer.text());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}/graphql`, count: () => held.size };
}

/** A proxy before the server that can cut every connection that goes by it. */
export async function proxy(url) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  const server = createServer((near) => {
    const far = connectTo({ host: hostname, port: Number(port) });
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    const count = sockets.size;
    for (const socket of sockets) socket.destroy();
    return count;
  };
  after(() => {
    server.close();
    cut();
  });
  return { url: new URL('/graphql', `http://127.0.0.1:${server.address().port}`).href, cut };
}
