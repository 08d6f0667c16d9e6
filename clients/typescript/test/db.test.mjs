// The db package: the IDE's own calls, and what each of them answers.
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test as runTest } from 'node:test';
import { pathToFileURL } from 'node:url';

import { buildSchema, parse, validate } from 'graphql';

import { compile, install, own } from './package.mjs';
import { schemaFile, url } from './server.mjs';

const app = await install();
const { folder, entry } = app;
const { AntiphonError, connect, DatabaseService, db } = await entry('index');
const { documents } = await entry('documents');
connect({ url, token: () => process.env.TOKEN });

const refused = async (call, code) => {
  const problem = await call.catch((error) => error);
  assert.ok(problem instanceof AntiphonError, String(problem));
  assert.equal(problem.code, code);
};

/** Every call of the original service, with the test that holds what it does. `answers.test.mjs` holds what each answers to what is missing or wrong. */
const USAGE = "the documentation's usage runs word for word, and compiles strictly";
const WHOLE = 'a sync is written as a whole or not at all';
const OTHERS = 'the other calls do what they did';
const CALLS = {
  getCurrentUser: OTHERS,
  getCurrentUserId: OTHERS,
  createUserProfile: OTHERS,
  getUserProfile: OTHERS,
  updateUserProfile: OTHERS,
  createProject: USAGE,
  getProject: OTHERS,
  updateProject: OTHERS,
  updateProjectAccess: 'pages go either way, and by any column',
  deleteProject: OTHERS,
  getUserProjects: 'pages go either way, and by any column',
  createChatSession: 'a session that is started twice at once is one session',
  getChatSession: OTHERS,
  getActiveSession: OTHERS,
  endChatSession: OTHERS,
  getProjectChatSessions: 'pages go either way, and by any column',
  createChatMessage: USAGE,
  getSessionMessages: 'pages are those of the original',
  getCheckpointMessages: OTHERS,
  createProjectFile: OTHERS,
  getProjectFiles: OTHERS,
  getProjectFile: OTHERS,
  updateProjectFile: OTHERS,
  deleteProjectFile: OTHERS,
  createFileSnapshot: OTHERS,
  getFileSnapshots: OTHERS,
  revertFileToSnapshot: OTHERS,
  createProjectSnapshot: OTHERS,
  getProjectSnapshots: OTHERS,
  restoreProjectSnapshot: USAGE,
  createCodeChange: OTHERS,
  getProjectCodeChanges: USAGE,
  getRecentActivity: USAGE,
  getProjectStats: USAGE,
  syncVirtualFileSystemToDatabase: WHOLE,
};

// Which of them each test has made; the usage's module has the same object.
const made = new Set();
let running = '';
const test = (title, body) =>
  runTest(title, (t) => {
    running = title;
    return body(t);
  });
for (const name of Object.keys(CALLS)) {
  const call = db[name];
  if (typeof call !== 'function') continue;
  db[name] = (...args) => {
    made.add(`${name}: ${running}`);
    return call.apply(db, args);
  };
}

test('every call of the original is there, and every document is one of the schema', async () => {
  assert.deepEqual(Object.keys(CALLS).filter((name) => typeof db[name] !== 'function'), []);
  assert.equal(Object.keys(CALLS).length, 35);
  const schema = buildSchema(await readFile(schemaFile, 'utf8'));
  for (const [name, text] of Object.entries(documents)) assert.deepEqual(validate(schema, parse(text)), [], name);
});

test("the class is assignable to the original's signatures, and they to it", async () => {
  await cp(own('original.ts'), join(folder, 'original.ts'));
  await compile(app, 'original.ts');
});

test(USAGE, async () => {
  const names = ['project', 'session', 'userMessage', 'assistantMessage', 'file', 'updatedFile', 'snapshots', 'snapshot', 'stats', 'activity', 'projects'];
  await writeFile(join(folder, 'usage.ts'), `${await readFile(own('usage.ts'), 'utf8')}\nexport { ${names} };\n`);
  await compile(app, 'usage.ts');
  // The documentation reverts to the second state of a file that it has edited once: there is one such state, so a second edit
  // comes between.
  const { getFileSnapshots } = db;
  db.getFileSnapshots = async (fileId) => {
    db.getFileSnapshots = getFileSnapshots;
    const { project_id } = (await db.getRecentActivity(1))[0];
    await db.updateProjectFile(project_id, { file_path: 'main.py', content: 'print("Again")' });
    return db.getFileSnapshots(fileId);
  };
  const usage = await import(pathToFileURL(join(folder, 'out/usage.js')));

  const { project, session, assistantMessage, file, stats } = usage;
  assert.deepEqual([project.name, project.status, project.config], ['My Voice Agent', 'active', { voice: 'alloy', model: 'gpt-4' }]);
  assert.deepEqual([session.project_id, session.is_active, assistantMessage.is_checkpoint], [project.id, true, true]);
  assert.deepEqual([file.version, usage.updatedFile.version, file.project_id], [1, 2, project.id]);
  assert.deepEqual(usage.snapshots.map(({ version, message_id }) => [version, message_id]), [[2, null], [1, assistantMessage.id]]);
  assert.match(usage.snapshots[1].diff_content, /^\+print\("Hello, Voice Assistant!"\)/m);
  assert.equal(usage.snapshot.snapshot_name, 'Working Voice Agent v1.0');
  assert.deepEqual([stats.project.id, stats.totalSessions, stats.totalMessages, stats.totalFiles], [project.id, 1, 2, 2]);
  assert.deepEqual([usage.activity[0].message_role, usage.activity[0].message_content], ['assistant', "I'll create a voice agent for you..."]);
  assert.ok(usage.projects.data.some(({ id, total_messages }) => id === project.id && total_messages === 2));

  // And what the story leaves behind.
  const files = await db.getProjectFiles(project.id);
  assert.deepEqual(files.map(({ file_path, content }) => [file_path, content]), [['main.py', '...'], ['utils.py', '...']]);
  const changes = await db.getProjectCodeChanges(project.id);
  assert.deepEqual(changes.map(({ change_type }) => change_type), ['create', 'update', 'update', 'update', 'update', 'create']);
  assert.equal(changes[0].change_description, 'Updated voice agent implementation');
  const names_ = (await db.getProjectSnapshots(project.id)).map(({ snapshot_name }) => snapshot_name);
  // The files are those of the snapshot already, so going back to it has changed nothing.
  assert.ok(!names_.includes('Pre-restore backup'), String(names_));
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

test('pages go either way, and by any column', async () => {
  const { id } = await db.createProject({ name: 'Orders', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id, title: 'b' });
  for (let n = 1; n <= 5; n += 1) {
    await db.createChatMessage({ session_id: session.id, role: n % 2 ? 'user' : 'assistant', content: `${6 - n}` });
  }
  const contents = async (pagination) => (await db.getSessionMessages(session.id, {}, pagination)).data.map(({ content }) => content);
  assert.deepEqual(await contents({ limit: 2, sort_order: 'desc' }), ['1', '2']);
  assert.deepEqual(await contents({ limit: 2, page: 3, sort_order: 'desc' }), ['5']);
  assert.deepEqual(await contents({ limit: 3, sort_by: 'content' }), ['1', '2', '3']);
  await refused(db.getSessionMessages(session.id, {}, { sort_by: 'nonsense' }), 'BAD_USER_INPUT');
  await db.createChatSession({ project_id: id, title: 'a' });
  const titles = async (pagination) => (await db.getProjectChatSessions(id, {}, pagination)).data.map(({ title }) => title);
  assert.deepEqual(await titles(), ['a', 'b']);
  assert.deepEqual(await titles({ sort_order: 'asc' }), ['b', 'a']);
  assert.deepEqual(await titles({ sort_by: 'title', sort_order: 'desc' }), ['b', 'a']);

  // The project that was opened last is the first, whatever was changed since in others.
  const tag = `order ${crypto.randomUUID()}`;
  const names = ['one', 'two', 'three'].map((name) => `${tag} ${name}`);
  const made = [];
  for (const name of names) made.push(await db.createProject({ name, initial_prompt: 'p', config: {} }));
  const order = async (pagination) =>
    (await db.getUserProjects({ search: tag, created_after: '2020-01-01', created_before: '2100-01-01 00:00:00' }, pagination)).data.map(({ name }) => name.replace(tag, 'order'));
  assert.deepEqual(await order(), ['order three', 'order two', 'order one']);
  await db.updateProjectAccess(made[0].id);
  assert.deepEqual(await order(), ['order one', 'order three', 'order two']);
  await db.updateProject(made[1].id, { description: 'changed' });
  assert.deepEqual(await order({ limit: 2 }), ['order two', 'order one']);
  assert.deepEqual(await order({ limit: 2, page: 2 }), ['order three']);
  assert.deepEqual(await order({ sort_order: 'asc' }), ['order three', 'order one', 'order two']);
  for (const sort_by of ['status', 'total_messages', 'id', 'last_activity', 'name']) assert.equal((await order({ sort_by })).length, 3);
});

test(OTHERS, async () => {
  const me = await db.getUserProfile();
  assert.deepEqual(await db.getCurrentUser(), { id: me.id, email: me.email });
  assert.equal(await db.getCurrentUserId(), me.id);
  assert.equal((await db.createUserProfile({ id: me.id, email: me.email, full_name: 'Ada L.', avatar_url: null })).full_name, 'Ada L.');
  await refused(db.createUserProfile({ ...me, id: crypto.randomUUID() }), 'BAD_USER_INPUT');
  await refused(db.updateUserProfile({ email: 'other@example.com' }), 'BAD_USER_INPUT');
  assert.equal((await db.updateUserProfile({ full_name: 'Ada' })).full_name, 'Ada');
  assert.equal(await db.getUserProfile(crypto.randomUUID()), null);

  const { id } = await db.createProject({ name: 'Calls', description: 'd', initial_prompt: 'p', config: {} });
  assert.equal((await db.updateProject(id, { name: 'Renamed', status: 'archived' })).status, 'archived');
  assert.deepEqual([(await db.getProject(id)).name, (await db.getProject(id)).description], ['Renamed', 'd']);
  assert.equal((await db.updateProject(id, { description: '' })).description, null);
  const before = (await db.getProject(id)).last_accessed_at;
  await db.updateProject(id, { status: 'active' });
  assert.equal(await db.updateProjectAccess(id), undefined);
  assert.ok((await db.updateProject(id, { last_accessed_at: new Date().toISOString() })).last_accessed_at > before);
  await refused(db.updateProject(id, { user_id: crypto.randomUUID() }), 'BAD_USER_INPUT');

  const first = await db.createChatSession({ project_id: id, title: '' });
  const second = await db.createChatSession({ project_id: id, title: 'Two' });
  assert.deepEqual([(await db.getChatSession(first.id)).is_active, first.title], [false, null]);
  assert.equal((await db.getActiveSession(id)).id, second.id);
  const checkpoint = await db.createChatMessage({ session_id: second.id, role: 'assistant', content: 'c', is_checkpoint: true, context_data: { a: 1 } });
  assert.deepEqual(await db.getCheckpointMessages(second.id), [checkpoint]);

  const file = await db.createProjectFile(id, { file_path: 'src/a.py', file_name: 'a.py', file_type: 'file', content: 'a', parent_path: 'src' });
  assert.deepEqual([file.file_name, file.parent_path, file.language], ['a.py', 'src', 'python']);
  await refused(db.createProjectFile(id, { file_path: 'src/b.py', file_name: 'c.py', file_type: 'file' }), 'BAD_USER_INPUT');
  await refused(db.createProjectFile(id, { file_path: 'src/b.py', file_name: 'b.py', file_type: 'file', parent_path: 'lib' }), 'BAD_USER_INPUT');
  assert.equal((await db.createProjectFile(id, { file_path: 'lib', file_name: 'lib', file_type: 'folder', content: '' })).file_type, 'folder');
  assert.deepEqual(await db.getFileSnapshots(file.id), []);
  await db.updateProjectFile(id, { file_path: 'src/a.py', content: 'b', change_description: 'b' }, '', 'msg_1764000000');
  await db.updateProjectFile(id, { file_path: 'src/a.py', content: 'c' }, second.id, checkpoint.id);
  const states = await db.getFileSnapshots(file.id);
  assert.deepEqual(states.map(({ content, version, message_id, change_description }) => [content, version, message_id, change_description]), [['b', 2, checkpoint.id, null], ['a', 1, null, 'b']]);
  // What was just done is undone by going to the newest state.
  assert.equal((await db.revertFileToSnapshot(file.id, states[0].id)).content, 'b');

  const snapshot = { file_id: file.id, project_id: id, session_id: null, message_id: null, content: 'a', version: 1, change_description: 'b', diff_content: null, created_by_user_id: null };
  assert.deepEqual(await db.createFileSnapshot(snapshot), states[1]);
  // Nothing that is passed is dropped: what is recorded is found by it, and anything else is refused by its name.
  assert.deepEqual(await db.createFileSnapshot({ ...states[1], message_id: 'msg_1764000000', session_id: '' }), states[1]);
  const someone = crypto.randomUUID();
  for (const other of [{ content: 'x' }, { content: '' }, { change_description: 'x' }, { session_id: second.id }, { message_id: checkpoint.id }, { diff_content: '+x' }, { created_by_user_id: someone }, { project_id: someone }]) {
    const problem = await db.createFileSnapshot({ ...snapshot, ...other }).catch((error) => error);
    assert.deepEqual([problem.code, problem.extensions?.field], ['BAD_USER_INPUT', Object.keys(other)[0]]);
  }
  await refused(db.createFileSnapshot({ ...snapshot, version: 9 }), 'NOT_FOUND');
  const written = { project_id: id, session_id: second.id, message_id: checkpoint.id, file_id: file.id, change_type: 'update', old_content: 'b', new_content: 'c', diff_content: null, line_changes: null };
  assert.deepEqual([(await db.createCodeChange(written)).new_content, (await db.createCodeChange(written)).message_id], ['c', checkpoint.id]);
  const recorded = (await db.getProjectCodeChanges(id)).find((each) => each.new_content === 'c');
  const found = await db.createCodeChange({ ...written, message_id: 'msg_1764000000', diff_content: recorded.diff_content, line_changes: structuredClone(recorded.line_changes) });
  assert.deepEqual(Object.entries(found), Object.entries(recorded).slice(0, 11));
  for (const other of [{ new_content: 'x' }, { new_content: '' }, { old_content: 'x' }, { message_id: someone }, { session_id: someone }, { diff_content: '+x' }, { line_changes: { added: 7 } }, { line_changes: {} }]) {
    const problem = await db.createCodeChange({ ...written, ...other }).catch((error) => error);
    assert.deepEqual([problem.code, problem.extensions?.field], ['BAD_USER_INPUT', Object.keys(other)[0]]);
  }
  await refused(db.createCodeChange({ ...written, file_id: someone }), 'NOT_FOUND');
  // The file was empty before it was created, and an empty content is one.
  await db.createProjectFile(id, { file_path: 'empty', file_name: 'empty', file_type: 'file', content: '' });
  const empty = await db.getProjectFile(id, 'empty');
  assert.equal((await db.createCodeChange({ ...written, session_id: '', message_id: '', file_id: empty.id, change_type: 'create', old_content: '', new_content: '' })).file_id, empty.id);
  await db.deleteProjectFile(id, 'empty');
  // Path and name of a change are those at its time.
  await db.createProjectFile(id, { file_path: 'early.py', file_name: 'early.py', file_type: 'file', content: '' });
  await db.api.renameFile({ projectId: id, path: 'early.py', newPath: 'src/late.py' });
  const named = (await db.getProjectCodeChanges(id)).slice(0, 2).map(({ file_path, file_name }) => [file_path, file_name]);
  assert.deepEqual(named, [['src/late.py', 'late.py'], ['early.py', 'early.py']]);
  await db.deleteProjectFile(id, 'src/late.py');

  await db.deleteProjectFile(id, 'src/a.py');
  assert.equal(await db.deleteProjectFile(id, 'src/a.py'), undefined);
  assert.equal(await db.getProjectFile(id, 'src/a.py'), null);
  const deleted = (await db.getProjectFiles(id, true)).find((each) => each.id === file.id);
  assert.deepEqual([deleted.is_deleted, deleted.content], [true, 'b']);
  // The state before the deletion is the newest of those to go back to.
  const before_ = await db.getFileSnapshots(file.id);
  assert.deepEqual(before_.map(({ content, version }) => [content, version]), [['b', 4], ['c', 3], ['b', 2], ['a', 1]]);
  assert.equal((await db.revertFileToSnapshot(file.id, before_[0].id)).content, 'b');
  assert.equal((await db.getFileSnapshots(file.id)).length, 4);
  assert.equal((await db.revertFileToSnapshot(file.id, states[1].id)).content, 'a');
  const folder = { path: 'docs', name: 'docs', type: 'folder' };
  const files = [folder, { path: 'src/a.py', name: 'a.py', type: 'file' }, { path: 'new.py', name: 'new.py', type: 'file' }];
  assert.equal(await db.syncVirtualFileSystemToDatabase(id, '', '', files), undefined);
  const contents = (await db.getProjectFiles(id)).map(({ file_path, content }) => [file_path, content]);
  assert.deepEqual(contents, [['lib', null], ['new.py', ''], ['src/a.py', 'a']]);

  const taken = await db.createProjectSnapshot(id, '', '', '', '');
  assert.deepEqual(taken.files_data.files.map(({ path, name, type, content }) => [path, name, type, content]), [['lib', 'lib', 'folder', null], ['new.py', 'new.py', 'file', ''], ['src/a.py', 'a.py', 'file', 'a']]);
  assert.deepEqual((await db.getProjectSnapshots(id)).find((each) => each.id === taken.id), taken);
  assert.equal((await db.endChatSession(second.id)).is_active, false);
  assert.equal(await db.getActiveSession(id), null);
  assert.equal(await db.deleteProject(id), undefined);
});

test("rows have the original's columns, and no others", async () => {
  const { id } = await db.createProject({ name: 'Columns', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const message = await db.createChatMessage({ session_id: session.id, role: 'assistant', content: 'c', is_checkpoint: true });
  const file = await db.createProjectFile(id, { file_path: 'a', file_name: 'a', file_type: 'file', content: 'a' });
  await db.updateProjectFile(id, { file_path: 'a', content: 'b' }, session.id, message.id);
  const projectColumns = 'id user_id name description initial_prompt config status created_at updated_at last_accessed_at';
  const changeColumns = 'id project_id session_id message_id file_id change_type old_content new_content diff_content line_changes created_at';
  const sessionColumns = 'id project_id user_id title started_at ended_at message_count is_active metadata';
  const messageColumns = 'id session_id user_id role content timestamp is_checkpoint context_data metadata';
  const fileColumns = 'id project_id file_path file_name file_type content language size_bytes version parent_path is_deleted created_at updated_at';
  const versionColumns = 'id file_id project_id session_id message_id content version change_description diff_content created_at created_by_user_id';
  const profileColumns = 'id email full_name avatar_url created_at updated_at';
  const [state] = await db.getFileSnapshots(file.id);
  const change = (await db.getProjectCodeChanges(id))[0];
  for (const [row, columns] of [
    [await db.getUserProfile(), profileColumns],
    [await db.getProject(id), projectColumns],
    [await db.updateProject(id, { description: 'd' }), projectColumns],
    [(await db.getUserProjects({ search: 'Columns' })).data[0], `${projectColumns} total_sessions total_messages total_files latest_session_date last_activity`],
    [session, sessionColumns],
    [await db.getActiveSession(id), sessionColumns],
    [message, messageColumns],
    [(await db.getCheckpointMessages(session.id))[0], messageColumns],
    [file, fileColumns],
    [(await db.getProjectFiles(id))[0], fileColumns],
    [state, versionColumns],
    [await db.createFileSnapshot(state), versionColumns],
    [await db.createProjectSnapshot(id), 'id project_id session_id message_id snapshot_name description files_data created_at created_by_user_id'],
    [(await db.getProjectSnapshots(id))[0].files_data.files[0], 'path name type content version'],
    [await db.createCodeChange(Object.fromEntries(Object.entries(change).slice(0, 11))), changeColumns],
    [change, `${changeColumns} file_path file_name project_name message_content change_timestamp created_by_user_id created_by_user_name change_description`],
    [(await db.getRecentActivity(1))[0], 'id user_id project_id project_name session_id message_role message_content timestamp is_checkpoint'],
    [await db.getProjectStats(id), 'project totalSessions totalMessages totalFiles totalChanges lastActivity'],
    [(await db.getProjectStats(id)).project, projectColumns],
    [await db.getCurrentUser(), 'id email'],
  ]) {
    assert.deepEqual(Object.keys(row), columns.split(' '));
  }
});

test('a session that is started twice at once is one session', async () => {
  const { id } = await db.createProject({ name: 'Twice', initial_prompt: 'p', config: {} });
  const start = (values = {}) => db.createChatSession({ project_id: id, title: 'Editor', ...values });
  // The caller writes to the one that it has kept, whichever of them that is.
  const [first, second, third] = await Promise.all([start(), start(), new DatabaseService().createChatSession({ project_id: id, title: 'Editor' })]);
  assert.deepEqual([second, third], [first, first]);
  for (const session of [first, second]) await db.createChatMessage({ session_id: session.id, role: 'user', content: 'Hello' });
  // One after the other they are two, and the first has ended; so are two of different titles.
  const next = await start();
  assert.notEqual(next.id, first.id);
  assert.equal((await db.getChatSession(first.id)).is_active, false);
  const others = await Promise.all([start({ title: 'Voice' }), start()]);
  assert.equal(new Set(others.map((each) => each.id)).size, 2);
  // A refusal is not kept.
  await refused(db.createChatSession({ project_id: crypto.randomUUID() }), 'NOT_FOUND');
  // A session that has ended takes messages of its author, and stays ended.
  assert.equal((await db.createChatMessage({ session_id: first.id, role: 'user', content: 'Late' })).content, 'Late');
  assert.equal((await db.getChatSession(first.id)).is_active, false);
});

test('arguments in every form that the original takes', async () => {
  const { id } = await db.createProject({ name: `Forms ${crypto.randomUUID()}`, initial_prompt: 'p', config: {} });
  const { name } = await db.getProject(id);
  const count = async (filters) => (await db.getUserProjects({ search: name, ...filters })).pagination.total;
  for (const early of ['2020-01-01', '2020-01-01T10:00', '2020-01-01 10:00', '2020-01-01 10:00:00+01', '2020-01-01T10:00:00+0100', '2020-01-01T10:00:00.123456', '2020-01-01T10:00:00.123456-05:30', '2020-01-01T10:00Z', 'Wed Jan 01 2020', new Date(0).toISOString(), new Date(0).toUTCString()]) {
    assert.equal(await count({ created_after: early }), 1, early);
    assert.equal(await count({ created_before: early }), 0, early);
  }
  await refused(count({ created_after: 'yesterday' }), 'BAD_USER_INPUT');
  assert.equal(await count({ status: '', created_after: '', created_before: '' }), 1);
  const session = await db.createChatSession({ project_id: id });
  assert.equal((await db.getSessionMessages(session.id, { role: '', search: '', timestamp_after: '' })).pagination.total, 0);

  // A file without content stays as it is, however its path is written.
  const file = { file_path: 'src/x.py', file_name: 'x.py', file_type: 'file', content: 'keep' };
  await db.createProjectFile(id, file);
  for (const path of ['src/x.py', '/src/x.py', './src/x.py', 'src//x.py', 'src/./x.py', 'src/x.py/']) {
    await db.syncVirtualFileSystemToDatabase(id, '', '', [{ path, name: 'x.py', type: 'file' }]);
    assert.equal((await db.getProjectFile(id, 'src/x.py')).content, 'keep', path);
  }

  // A name and a picture can be removed.
  assert.equal((await db.updateUserProfile({ avatar_url: 'https://example.com/a.png' })).avatar_url, 'https://example.com/a.png');
  for (const avatar_url of ['', null]) assert.equal((await db.updateUserProfile({ avatar_url })).avatar_url, null);
  for (const full_name of ['', null]) {
    assert.equal((await db.updateUserProfile({ full_name: 'Ada' })).full_name, 'Ada');
    assert.equal((await db.updateUserProfile({ full_name })).full_name, null);
    assert.equal((await db.getUserProfile()).full_name, null);
  }
});

test(WHOLE, async () => {
  const { id } = await db.createProject({ name: 'Whole', initial_prompt: 'p', config: {} });
  const file = (path, content, name = path.split('/').at(-1)) => ({ path, name, content, type: 'file' });
  await db.syncVirtualFileSystemToDatabase(id, '', '', [file('a', 'one')]);
  const revision = await db.getRevision(id);
  for (const bad of [
    [file('../b', 'x')], [file('', 'x')], [file('b', 'x'), file('./b', 'y')], [file('b', 'x', 'c')], [file('b', 'x'), file('b/c', 'y')], [file('a/b', 'x')], [file('b', '\ud800')], [file('b\0', 'x')],
  ]) {
    const error = await db.syncVirtualFileSystemToDatabase(id, '', '', [file('a', 'two'), ...bad]).catch((error) => error);
    assert.ok(error instanceof AntiphonError && ['BAD_USER_INPUT', 'CONFLICT'].includes(error.code), `${JSON.stringify(bad)} ${error}`);
    assert.ok(error.extensions.field, JSON.stringify(bad));
  }
  assert.deepEqual([await db.getRevision(id), (await db.getProjectFiles(id)).map(({ content }) => content)], [revision, ['one']]);
});

test('what is not there is answered as it was there', async () => {
  const none = crypto.randomUUID();
  const empty = (limit) => ({ data: [], pagination: { page: 1, limit, total: 0, total_pages: 0, has_next: false, has_prev: false } });
  assert.equal(await db.getProject(none), null);
  assert.deepEqual([await db.getProjectFiles(none), await db.getProjectSnapshots(none), await db.getProjectCodeChanges(none)], [[], [], []]);
  assert.deepEqual([await db.getFileSnapshots(none), await db.getCheckpointMessages(none)], [[], []]);
  assert.deepEqual([await db.getProjectChatSessions(none), await db.getSessionMessages(none)], [empty(20), empty(50)]);
  const zeros = { project: null, totalSessions: 0, totalMessages: 0, totalFiles: 0, totalChanges: 0, lastActivity: null };
  assert.deepEqual(await db.getProjectStats(none), zeros);
  assert.deepEqual([await db.deleteProject(none), await db.updateProjectAccess(none), await db.deleteProjectFile(none, 'a')], [undefined, undefined, undefined]);
  await refused(db.getProject('no id'), 'BAD_USER_INPUT');
  await refused(db.createProjectFile(none, { file_path: 'a', file_name: 'a', file_type: 'file' }), 'NOT_FOUND');
});

test('what is too large for one answer comes in several, and what is too large for the server is named', async () => {
  const { id } = await db.createProject({ name: 'Large', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const names = Array.from({ length: 9 }, (_, n) => `${n}.md`);
  await db.syncVirtualFileSystemToDatabase(id, '', '', names.map((name) => ({ path: name, name, content: name, type: 'file' })));
  for (const content of names) await db.createChatMessage({ session_id: session.id, role: 'user', content });
  // A server whose answers have room for three contents.
  const sizes = [];
  const small = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    const { first, ids, rows = true } = JSON.parse(init.body).variables;
    sizes.push(first ?? ids?.length);
    if ((first > 3 || ids?.length > 3) && rows) return Response.json({ data: null, errors: [{ message: 'too much', extensions: { code: 'QUERY_TOO_COMPLEX' } }] });
    return fetch(to, init);
  } });
  assert.deepEqual((await small.getProjectFiles(id)).map(({ content }) => content), names);
  assert.deepEqual(sizes, [500, 63, 8, ...Array(9).fill(1)]);
  assert.equal((await small.getProjectCodeChanges(id)).length, 9);
  const messages = async (page) => (await small.getSessionMessages(session.id, {}, { page, limit: 5 })).data.map(({ content }) => content);
  assert.deepEqual([await messages(1), await messages(2), await messages(3)], [names.slice(0, 5), names.slice(5), []]);

  for (const name of names) await db.deleteProjectFile(id, name);
  sizes.length = 0;
  assert.deepEqual((await small.getProjectFiles(id, true)).map(({ content }) => content), names);
  assert.deepEqual(sizes, [500, 63, 8, ...Array(9).fill(1), 9, 2, 2, 2, 2, 1]);
  sizes.length = 0;
  const activity = await small.getRecentActivity(9);
  assert.deepEqual(activity.map(({ message_content }) => message_content), [...names].reverse());
  assert.deepEqual(sizes, [9, ...Array(5).fill(2)]);

  const knowledge = 'k'.repeat(8 << 20);
  const message = await db.createChatMessage({ session_id: session.id, role: 'user', content: knowledge });
  assert.equal(message.content, knowledge);
  const error = await db.createChatMessage({ session_id: session.id, role: 'user', content: 'k'.repeat(11 << 20) }).catch((error) => error);
  assert.deepEqual([error.code, error.extensions.field], ['PAYLOAD_TOO_LARGE', 'content']);
  assert.match(error.message, /--max-text-bytes/);
});

test('each instance has its own identity, and a call has one throughout', async () => {
  // Given two services of one process, and a token that is another at each call …
  const nobody = new DatabaseService({ url });
  assert.equal(await nobody.getCurrentUser(), null);
  await refused(nobody.getCurrentUserId(), 'UNAUTHENTICATED');
  await refused(nobody.getUserProfile(), 'UNAUTHENTICATED');
  assert.throws(() => nobody.connect({ url }), AntiphonError);
  const tokens = [];
  const service = new DatabaseService({
    url,
    token: async () => (tokens.length === 0 ? process.env.TOKEN : 'none'),
    fetch: async (to, init) => {
      tokens.push(new Headers(init.headers).get('authorization'));
      return fetch(to, init);
    },
  });
  // … when a call takes several requests, then all of them are the same user's.
  await service.getUserProjects();
  assert.ok(tokens.length > 1 && tokens.every((token) => token === `Bearer ${process.env.TOKEN}`), String(tokens.length));
  await refused(service.getUserProjects(), 'UNAUTHENTICATED');
  assert.equal(await new DatabaseService().getCurrentUserId(), await db.getCurrentUserId());
});

test('a server that cannot be reached, and one that is none, are named', async () => {
  let message;
  const problem = async (connection) => {
    const error = await new DatabaseService(connection).getUserProfile().catch((error) => error);
    assert.ok(error instanceof AntiphonError);
    message = error.message;
    return [error.code, error.status, error.cause !== undefined];
  };
  // Each says what has happened.
  for (const [connection, expected] of [
    [{ url: 'http://127.0.0.1:1/graphql' }, 'http://127.0.0.1:1/graphql cannot be reached.'],
    [{ url: '/graphql' }, '"/graphql" is not a URL here: call `connect({ url })` first.'],
    [{ url: 'localhost:8080/graphql' }, 'localhost:8080/graphql cannot be reached.'],
    [{ url: '' }, '"" is not a URL here: call `connect({ url })` first.'],
    [{ url: 'http:// /graphql' }, '"http:// /graphql" is not a URL here: call `connect({ url })` first.'],
    [{ url, token: 'a\nb' }, 'The token cannot be sent in a header.'],
    [{ url, token: 'a\u{1f600}' }, 'The token cannot be sent in a header.'],
    [{ url, token: () => Promise.reject(new TypeError('away')) }, 'The token function failed: TypeError: away'],
  ]) {
    assert.deepEqual(await problem(connection), ['NETWORK', undefined, true]);
    assert.equal(message, expected);
  }
  const cut = () => new ReadableStream({ pull: (to) => to.error(new TypeError('terminated')) });
  for (const body of ['{"data":{"vie', '{', cut()]) {
    assert.deepEqual(await problem({ url, fetch: async () => new Response(body) }), ['NETWORK', 200, true]);
    assert.equal(message, `The answer of ${url} ended early: HTTP status 200.`);
  }
  for (const [body, more] of [['<html>', ''], ['{"message":"no Route matched"}', ''], ['{"errors":[{"message":"Bad gateway"}]}', ', Bad gateway']]) {
    await problem({ url, fetch: async () => new Response(body, { status: 404 }) });
    assert.equal(message, `${url} does not answer as an Antiphon server: HTTP status 404${more}.`);
  }
  // A gateway's refusal of a token is one, in whatever form.
  for (const body of ['<html>', '', '{"message":"Invalid JWT"}', '{"errors":[{"message":"no"}]}', '{"errors":[{"message":"no","extensions":{"code":"AUTH"}}]}']) {
    assert.deepEqual((await problem({ url, fetch: async () => new Response(body, { status: 401 }) })).slice(0, 2), ['UNAUTHENTICATED', 401], body);
    assert.match(message, /401|no/);
    assert.equal(await new DatabaseService({ url, token: 'x', fetch: async () => new Response(body, { status: 401 }) }).getCurrentUser(), null);
  }
  const answer = (status, body) => ({ url, fetch: async () => new Response(body, { status }) });
  const html = '<!doctype html><title>Sign in to the network</title>';
  for (const [status, body] of [
    [502, '<html>'], [404, ''], [200, html], [403, html], [204, null], [200, ''], [500, ''], [500, 'Internal Server Error'],
  ]) {
    assert.deepEqual(await problem(answer(status, body)), ['NETWORK', status, true], `${status} ${body}`);
  }
  for (const [status, body] of [
    [200, 'null'], [200, '{"data":null}'], [200, '{}'], [200, '[]'], [200, '7'], [500, '"Internal Server Error"'], [500, '{"error":"Internal Server Error"}'],
    [500, '{"errors":["Internal Server Error"]}'], [500, '{"errors":"Internal Server Error"}'], [502, '{"errors":[{"message":"Bad gateway"}]}'],
    [500, '{"errors":[{"message":"Oops","extensions":{"code":500}}],"data":{"viewer":{}}}'], [500, '{"errors":[null],"data":{"viewer":{}}}'],
  ]) {
    assert.deepEqual((await problem(answer(status, body))).slice(0, 2), ['NETWORK', status], `${status} ${body}`);
  }
});

test("a proxy's refusal of a large request is one of its own, and is not repeated", async () => {
  const { id } = await db.createProject({ name: 'Proxy', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  for (const body of ['<html><center><h1>413 Request Entity Too Large</h1></center></html>', '', '{"message":"Request size limit exceeded"}', '{"errors":[{"message":"too large"}]}']) {
    let requests = 0;
    let isStarted = false;
    const behind = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
      if (/startMessage|discardMessage/.test(init.body)) return fetch(to, init);
      requests += 1;
      return new Response(body, { status: 413 });
    } });
    for (const call of [
      () => behind.createChatMessage({ session_id: session.id, role: 'user', content: 'x' }),
      () => behind.getProject(id),
      () => behind.syncVirtualFileSystemToDatabase(id, '', '', [{ path: 'a', name: 'a', content: 'x', type: 'file' }]),
      () => behind.uploadFile(id, 'a', 'x'),
      () => behind.query('{ viewer { id } }'),
      () => behind.writeMessage({ session_id: session.id, role: 'user' }, ['x'], () => (isStarted = true)),
      () => behind.onProjectEvent(id, { afterRevision: 0 }).next(),
    ]) {
      requests = 0;
      const error = await call().catch((problem) => problem);
      assert.ok(error instanceof AntiphonError, String(error));
      assert.deepEqual([error.code, error.status, requests], ['PAYLOAD_TOO_LARGE', 413, 1], `${call} ${body}`);
      assert.match(error.message, /refuses a request of this size: HTTP status 413(, too large)?\.$/);
    }
    assert.ok(isStarted);
  }
  // The server's own refusal keeps its words.
  const own = { errors: [{ message: 'own words', extensions: { code: 'PAYLOAD_TOO_LARGE', field: 'content' } }] };
  const error = await new DatabaseService({ url, fetch: async () => Response.json(own, { status: 413 }) }).getProject(id).catch((problem) => problem);
  assert.deepEqual([error.message, error.extensions.field], ['own words', 'content']);
});

test("a proxy's refusal of too many requests is one of the API's codes", async () => {
  const { id } = await db.createProject({ name: 'Proxy', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  let refusals = 0;
  const busy = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) =>
    (refusals -= 1) < 0 ? fetch(to, init) : new Response('<html>Too Many Requests</html>', { status: 429 }) });
  refusals = 1;
  const error = await busy.getProject(id).catch((problem) => problem);
  assert.deepEqual([error.code, error.status, error.message], ['RATE_LIMITED', 429, `${url} refuses more requests at present: HTTP status 429.`]);
  assert.equal((await busy.getProject(id)).id, id);
  // What is repeated anyway is repeated.
  refusals = 2;
  assert.equal((await busy.writeMessage({ session_id: session.id, role: 'user' }, ['x'])).content, 'x');
  refusals = 2;
  const items = busy.onProjectEvent(id, { afterRevision: 0 });
  assert.equal((await items.next()).value.revision, 1);
  await items.return();
});

test('settings that are undefined count as absent, and no token is nobody', async () => {
  const service = new DatabaseService({ url, token: process.env.TOKEN, fetch: undefined });
  const me = await service.getCurrentUserId();
  assert.equal(await new DatabaseService({ url: undefined, token: process.env.TOKEN, fetch: undefined }).getCurrentUserId(), me);
  connect({ url: undefined, fetch: undefined });
  assert.equal(await db.getCurrentUserId(), me);
  // The session of somebody who has signed out is undefined: the token of before is not kept.
  connect({ token: undefined });
  assert.equal(await db.getCurrentUser(), null);
  connect({ token: () => process.env.TOKEN });
});

test('a read is repeated if a proxy has no answer of the server, a write is not', async () => {
  for (const status of [502, 503, 504]) {
    let failures = 2;
    let requests = 0;
    const service = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
      requests += 1;
      if ((failures -= 1) >= 0) return new Response('<html>', { status });
      return fetch(to, init);
    } });
    assert.ok(await service.getCurrentUserId());
    assert.equal(requests, 3);
    failures = 9;
    await refused(service.query('{ viewer { id } }'), 'NETWORK');
    assert.equal(requests, 6);
    for (const write of [service.createProject({ name: 'n', initial_prompt: 'p', config: {} }), service.query('# query\nmutation { touchProject(id: "x") { revision } }')]) {
      await refused(write, 'NETWORK');
    }
    assert.equal(requests, 8);
  }
});

test('each call is made by the test that holds it', () => {
  assert.deepEqual(Object.entries(CALLS).map(([name, title]) => `${name}: ${title}`).filter((each) => !made.has(each)), []);
});
