// The db package: the IDE's own calls, and what each of them answers.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { buildSchema, parse, validate } from 'graphql';

import { schemaFile, url } from './server.mjs';

const own = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'antiphon-db-'));
after(() => rm(folder, { recursive: true, force: true }));

const run = promisify(execFile);
const node = (...args) =>
  run(process.execPath, args, { cwd: folder }).catch(({ stdout, stderr, message }) => {
    throw new Error(`${message}\n${stdout}${stderr}`);
  });

// Installed as in an application of its own.
const installed = join(folder, 'node_modules/antiphon-db');
await mkdir(installed, { recursive: true });
await cp(own('db/package.json'), join(installed, 'package.json'));
await node(own('db/build.mjs'), join(installed, 'dist'));
const { AntiphonError, db } = await import(pathToFileURL(join(installed, 'dist/index.js')));
const { texts } = await import(pathToFileURL(join(installed, 'dist/generated.js')));
db.connect({ url, token: () => process.env.TOKEN });

const refused = async (call, code) => {
  const problem = await call.catch((error) => error);
  assert.ok(problem instanceof AntiphonError, String(problem));
  assert.equal(problem.code, code);
};

/** Every call of the original service. */
const CALLS = [
  'createUserProfile', 'getUserProfile', 'updateUserProfile', 'createProject', 'getProject', 'updateProject',
  'updateProjectAccess', 'deleteProject', 'getUserProjects', 'createChatSession', 'getChatSession', 'getActiveSession',
  'endChatSession', 'getProjectChatSessions', 'createChatMessage', 'getSessionMessages', 'getCheckpointMessages',
  'createProjectFile', 'getProjectFiles', 'getProjectFile', 'updateProjectFile', 'deleteProjectFile', 'createFileSnapshot',
  'getFileSnapshots', 'revertFileToSnapshot', 'createProjectSnapshot', 'getProjectSnapshots', 'restoreProjectSnapshot',
  'createCodeChange', 'getProjectCodeChanges', 'getRecentActivity', 'getProjectStats', 'syncVirtualFileSystemToDatabase',
];

// Which of them these tests have made; the usage's module has the same object.
const made = new Set();
for (const name of CALLS) {
  const call = db[name];
  if (typeof call !== 'function') continue;
  db[name] = (...args) => {
    made.add(name);
    return call.apply(db, args);
  };
}

test('every call of the original is there, and every document is one of the schema', async () => {
  assert.deepEqual(CALLS.filter((name) => typeof db[name] !== 'function'), []);
  const schema = buildSchema(await readFile(schemaFile, 'utf8'));
  for (const [name, text] of Object.entries(texts)) assert.deepEqual(validate(schema, parse(text)), [], name);
});

test("the documentation's usage runs word for word, and compiles strictly", async () => {
  const names = ['project', 'session', 'userMessage', 'assistantMessage', 'file', 'updatedFile', 'snapshots', 'snapshot', 'stats', 'activity', 'projects'];
  await writeFile(join(folder, 'usage.ts'), `${await readFile(own('usage.ts'), 'utf8')}\nexport { ${names} };\n`);
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    strict: true, target: 'es2022', module: 'nodenext', lib: ['es2023', 'dom'], types: [], rootDir: '.', outDir: 'out',
  };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['usage.ts'] }));
  await node(own('node_modules/typescript/bin/tsc'), '-p', folder);
  const usage = await import(pathToFileURL(join(folder, 'out/usage.js')));

  const { project, session, assistantMessage, file, stats } = usage;
  assert.deepEqual([project.name, project.status, project.config], ['My Voice Agent', 'active', { voice: 'alloy', model: 'gpt-4' }]);
  assert.deepEqual([session.project_id, session.is_active, assistantMessage.is_checkpoint], [project.id, true, true]);
  assert.deepEqual([file.version, usage.updatedFile.version, file.project_id], [1, 2, project.id]);
  assert.deepEqual(usage.snapshots.map(({ version, message_id }) => [version, message_id]), [[2, assistantMessage.id], [1, null]]);
  assert.match(usage.snapshots[0].diff_content, /^\+print\("Hello, Voice Assistant!"\)/m);
  assert.equal(usage.snapshot.snapshot_name, 'Working Voice Agent v1.0');
  assert.deepEqual([stats.project.id, stats.totalSessions, stats.totalMessages, stats.totalFiles], [project.id, 1, 2, 2]);
  assert.equal(usage.activity[0].content, "I'll create a voice agent for you...");
  assert.ok(usage.projects.data.some(({ id, total_messages }) => id === project.id && total_messages === 2));

  // And what the story leaves behind.
  const files = await db.getProjectFiles(project.id);
  assert.deepEqual(files.map(({ file_path, content }) => [file_path, content]), [['main.py', '...'], ['utils.py', '...']]);
  const changes = await db.getProjectCodeChanges(project.id);
  assert.deepEqual(changes.map(({ change_type }) => change_type), ['create', 'update', 'update', 'update', 'create']);
  assert.equal(changes[0].change_description, 'Updated voice agent implementation');
  const names_ = (await db.getProjectSnapshots(project.id)).map(({ snapshot_name }) => snapshot_name);
  assert.ok(names_.includes('Pre-restore backup'), String(names_));
});

test('pages are those of the original', async () => {
  const { id } = await db.createProject({ name: 'Pages', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  for (let n = 1; n <= 7; n += 1) {
    await db.createChatMessage({ session_id: session.id, role: n % 2 ? 'user' : 'system', content: `message ${n}` });
  }
  const contents = async (filters, pagination) => {
    const { data, pagination: at } = await db.getSessionMessages(session.id, filters, pagination);
    return [data.map(({ content }) => Number(content.split(' ')[1])), at];
  };
  const at = (page, total_pages) => ({
    page, limit: 3, total: 7, total_pages, has_next: page < total_pages, has_prev: page > 1,
  });
  assert.deepEqual(await contents({}, { page: 1, limit: 3 }), [[1, 2, 3], at(1, 3)]);
  assert.deepEqual(await contents({}, { page: 2, limit: 3 }), [[4, 5, 6], at(2, 3)]);
  assert.deepEqual(await contents({}, { page: 3, limit: 3 }), [[7], at(3, 3)]);
  assert.deepEqual(await contents({}, { page: 4, limit: 3 }), [[], at(4, 3)]);
  assert.deepEqual((await contents())[0], [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual((await contents({ role: 'system', search: 'MESSAGE' }, { limit: 2 }))[0], [2, 4]);
  assert.deepEqual((await contents({}, { limit: 2_000 }))[0].length, 7);
  const none = await db.getUserProjects({ search: 'no such name' });
  assert.deepEqual(none, { data: [], pagination: { page: 1, limit: 20, total: 0, total_pages: 0, has_next: false, has_prev: false } });
  const sessions = await db.getProjectChatSessions(id, { is_active: true });
  assert.deepEqual(sessions.data.map((each) => each.id), [session.id]);
});

test('the other calls do what they did', async () => {
  const me = await db.createUserProfile({ full_name: 'Ada L.' });
  assert.deepEqual([await db.getUserProfile(), await db.getUserProfile(me.id)], [me, me]);
  assert.equal((await db.updateUserProfile({ full_name: 'Ada' })).full_name, 'Ada');
  assert.equal(await db.getUserProfile(crypto.randomUUID()), null);

  const { id } = await db.createProject({ name: 'Calls', description: 'd', initial_prompt: 'p', config: {} });
  assert.equal((await db.updateProject(id, { name: 'Renamed', status: 'archived' })).status, 'archived');
  assert.deepEqual([(await db.getProject(id)).name, (await db.getProject(id)).description], ['Renamed', 'd']);
  assert.ok((await db.updateProjectAccess(id)).last_accessed_at);
  await db.updateProject(id, { status: 'active' });

  const first = await db.createChatSession({ project_id: id, title: 'One' });
  const second = await db.createChatSession({ project_id: id, title: 'Two' });
  assert.equal((await db.getChatSession(first.id)).is_active, false);
  assert.equal((await db.getActiveSession(id)).id, second.id);
  const checkpoint = await db.createChatMessage({ session_id: second.id, role: 'assistant', content: 'c', is_checkpoint: true, context_data: { a: 1 } });
  assert.deepEqual(await db.getCheckpointMessages(second.id), [checkpoint]);
  assert.equal((await db.endChatSession(second.id)).is_active, false);
  assert.equal(await db.getActiveSession(id), null);

  const file = await db.createProjectFile(id, { file_path: 'src/a.py', file_name: 'a.py', file_type: 'file', content: 'a', parent_path: 'src' });
  assert.deepEqual([file.file_name, file.parent_path, file.language], ['a.py', 'src', 'python']);
  await db.updateProjectFile(id, { file_path: 'src/a.py', content: 'b' });
  assert.equal((await db.createFileSnapshot({ file_id: file.id })).content, 'b');
  assert.equal((await db.createFileSnapshot({ file_id: file.id, version: 1 })).content, 'a');
  assert.equal((await db.createCodeChange({ project_id: id, file_id: file.id })).new_content, 'b');
  await db.deleteProjectFile(id, 'src/a.py');
  assert.equal(await db.getProjectFile(id, 'src/a.py'), null);
  assert.ok((await db.getProjectFiles(id, true)).some((each) => each.id === file.id && each.is_deleted));
  const [, , created] = await db.getFileSnapshots(file.id);
  assert.equal((await db.revertFileToSnapshot(file.id, created.id)).content, 'a');
  const folder = { path: 'docs', name: 'docs', type: 'folder' };
  const synced = await db.syncVirtualFileSystemToDatabase(id, null, null, [folder, { path: 'src/a.py', name: 'a.py', content: 'a', type: 'file' }]);
  assert.deepEqual([synced.created, synced.unchanged], [0, 1]);

  assert.equal((await db.deleteProject(id)).status, 'deleted');
  assert.equal(await db.getProject(crypto.randomUUID()), null);
  await refused(db.getProject('no id'), 'BAD_USER_INPUT');
  await refused(db.getSessionMessages(crypto.randomUUID()), 'NOT_FOUND');
  await refused(db.createProjectFile(crypto.randomUUID(), { file_path: 'a' }), 'NOT_FOUND');
});

test('no call is left untried', () => {
  assert.deepEqual(CALLS.filter((name) => !made.has(name)), []);
});
