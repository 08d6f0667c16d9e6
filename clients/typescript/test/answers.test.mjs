// What the original's calls answer to what is missing, wrong or another user's.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { install, tokenFor } from './package.mjs';
import { url } from './server.mjs';

const { entry } = await install();
const { AntiphonError, DatabaseService } = await entry('index');
const db = new DatabaseService({ url, token: process.env.TOKEN });

/** The code and the field of a refusal. */
const refusal = (call) => call.then((value) => ['nothing', JSON.stringify(value)], (error) => {
  assert.ok(error instanceof AntiphonError, `${error?.stack}`);
  return [error.code, error.extensions.field];
});

/** A service that fails the test if it writes. */
const reader = new DatabaseService({ url, token: process.env.TOKEN, fetch: (to, init) => {
  assert.ok(!/\bmutation\b/.test(init.body), init.body);
  return fetch(to, init);
} });

async function project() {
  const made = await db.createProject({ name: 'Answers', description: 'd', initial_prompt: 'p', config: { a: 1 } });
  const session = await db.createChatSession({ project_id: made.id });
  return { id: made.id, made, session };
}

/** Another user. */
async function stranger() {
  return new DatabaseService({ url, token: await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` }) });
}

test('null where a value must be, and what is no column, are refused by their names before anything is written', async () => {
  const { id, session } = await project();
  const file = { file_path: 'a', file_name: 'a', file_type: 'file' };
  const written = await db.createProjectFile(id, { ...file, content: 'a' });
  const state = { file_id: written.id, project_id: id, session_id: null, message_id: null, content: 'a', version: 1, change_description: null, diff_content: null, created_by_user_id: null };
  const change = { project_id: id, session_id: '', message_id: '', file_id: written.id, change_type: 'create', old_content: null, new_content: 'a', diff_content: null, line_changes: null };
  const me = await db.getUserProfile();
  /** Each call by its values: those that are right, and the columns that take no null; of an update none must be given. */
  const calls = [
    [(values) => reader.createUserProfile(values), { id: me.id, email: me.email, full_name: null, avatar_url: null }, ['id']],
    [(values) => reader.updateUserProfile(values), { full_name: 'Ada' }, []],
    [(values) => reader.createProject(values), { name: 'n', initial_prompt: 'p', config: {} }, ['name', 'initial_prompt', 'config']],
    [(values) => reader.updateProject(id, values), {}, ['name', 'initial_prompt', 'config', 'status', 'last_accessed_at'], true],
    [(values) => reader.createChatSession(values), { project_id: id }, ['project_id']],
    [(values) => reader.createChatMessage(values), { session_id: session.id, role: 'user', content: 'x' }, ['session_id', 'role', 'content']],
    [(values) => reader.writeMessage(values, ['x']), { session_id: session.id, role: 'user' }, ['session_id', 'role']],
    [(values) => reader.createProjectFile(id, values), { ...file, file_path: 'b', file_name: 'b' }, ['file_path', 'file_name', 'file_type']],
    [(values) => reader.updateProjectFile(id, values), { file_path: 'a', content: 'b' }, ['file_path', 'content']],
    [(values) => reader.createFileSnapshot(values), state, ['file_id', 'content', 'version']],
    [(values) => reader.createCodeChange(values), change, ['project_id', 'file_id', 'change_type']],
    [(values) => reader.syncVirtualFileSystemToDatabase(id, '', '', [{ path: 'c', name: 'c', content: 'c', type: 'file' }, values]), { path: 'b', name: 'b', content: 'b', type: 'file' }, ['path', 'name', 'type']],
  ];
  for (const [call, values, required, isPartial] of calls) {
    for (const column of required) {
      const field = values.path ? `files[1].${column}` : column;
      assert.deepEqual(await refusal(call({ ...values, [column]: null })), ['BAD_USER_INPUT', field], `${call}`);
      if (!isPartial) assert.deepEqual(await refusal(call({ ...values, [column]: undefined })), ['BAD_USER_INPUT', field], `${call}`);
    }
    // The files of an IDE have more than a sync writes.
    if (!values.path) {
      for (const value of ['x', null, 0]) assert.deepEqual(await refusal(call({ ...values, nonsense: value })), ['BAD_USER_INPUT', 'nonsense'], `${call}`);
    }
    for (const none of [null, undefined, 'text', 7]) assert.equal((await refusal(call(none)))[0], 'BAD_USER_INPUT', `${call}`);
  }
  const of = { path: 'b', name: 'b', content: 'b', type: 'file' };
  for (const [field, value] of [['content', 7], ['content', {}], ['type', 'symlink'], ['name', 'c']]) {
    const bad = { ...of, [field]: value };
    assert.deepEqual(await refusal(reader.syncVirtualFileSystemToDatabase(id, '', '', [bad])), ['BAD_USER_INPUT', `files[0].${field}`]);
  }
  // The names are those of the original's checks, in lower case.
  for (const role of ['USER', 'User', 'tool', '', 7]) assert.deepEqual(await refusal(db.createChatMessage({ session_id: session.id, role, content: 'x' })), ['BAD_USER_INPUT', 'role']);
  for (const status of ['Active', 'gone', '']) assert.deepEqual(await refusal(db.updateProject(id, { status })), ['BAD_USER_INPUT', 'status']);
  assert.deepEqual(await refusal(db.createProjectFile(id, { file_path: 'F', file_name: 'F', file_type: 'Folder' })), ['BAD_USER_INPUT', 'file_type']);
  const circle = {};
  circle.circle = circle;
  for (const metadata of [circle, { big: 1n }]) assert.equal((await refusal(reader.createChatMessage({ session_id: session.id, role: 'user', content: 'x', metadata })))[0], 'BAD_USER_INPUT');
  for (const files of [null, undefined, 'text', {}, [null], [undefined]]) {
    assert.equal((await refusal(reader.syncVirtualFileSystemToDatabase(id, '', '', files)))[0], 'BAD_USER_INPUT');
  }
  // A column that is undefined is not given, as in JSON, and more in a file of an IDE is its own.
  assert.equal((await db.updateProject(id, { nonsense: undefined, name: undefined })).name, 'Answers');
  await db.syncVirtualFileSystemToDatabase(id, '', '', [{ ...of, children: [], isOpen: true }]);
  assert.equal((await db.getProjectFile(id, 'b')).content, 'b');
  // Null is none where a column may be null.
  const message = await db.createChatMessage({ session_id: session.id, role: 'user', content: 'x', is_checkpoint: null, context_data: null, metadata: null });
  assert.deepEqual([message.is_checkpoint, message.context_data, message.metadata], [false, {}, {}]);
  assert.equal((await db.updateProject(id, { description: null })).description, null);
});

test('a row can be passed back with changes, and only what cannot be set is refused', async () => {
  const { id, made } = await project();
  const renamed = await db.updateProject(id, { ...made, name: 'Renamed' });
  assert.deepEqual([renamed.name, renamed.description, renamed.config], ['Renamed', 'd', { a: 1 }]);
  for (const [column, value] of [['id', crypto.randomUUID()], ['user_id', crypto.randomUUID()], ['user_id', null], ['created_at', '2020-01-01T00:00:00Z']]) {
    assert.deepEqual(await refusal(reader.updateProject(id, { ...made, [column]: value })), ['BAD_USER_INPUT', column]);
  }
  const me = await db.updateUserProfile({ full_name: 'Ada' });
  assert.equal((await db.updateUserProfile({ ...me, full_name: 'Ada L.' })).full_name, 'Ada L.');
  for (const [column, value] of [['id', crypto.randomUUID()], ['email', 'x@example.com'], ['email', ''], ['email', null], ['created_at', '2020-01-01T00:00:00Z']]) {
    assert.deepEqual(await refusal(reader.updateUserProfile({ ...me, [column]: value })), ['BAD_USER_INPUT', column]);
    assert.deepEqual(await refusal(reader.createUserProfile({ ...me, [column]: value })), ['BAD_USER_INPUT', column]);
  }
  // A first sign-in without a name leaves the name that is there.
  assert.equal((await db.createUserProfile({ id: me.id, email: me.email, full_name: null, avatar_url: '' })).full_name, 'Ada L.');
});

test('an update of a project has all of its effect or none', async () => {
  const { id } = await project();
  const before = await db.getProject(id);
  const last_accessed_at = new Date().toISOString();
  for (const values of [{ name: '' }, { name: null }, { status: 'gone' }, { status: '' }, { user_id: crypto.randomUUID() }, { nonsense: 1 }, { initial_prompt: '\ud800' }]) {
    assert.equal((await refusal(db.updateProject(id, { description: 'changed', last_accessed_at, ...values })))[0], 'BAD_USER_INPUT');
    assert.deepEqual(await db.getProject(id), before, JSON.stringify(values));
  }
  const viewer = await stranger();
  await db.api.inviteCollaborator({ projectId: id, userId: await viewer.getCurrentUserId(), role: 'VIEWER' });
  await viewer.api.acceptInvitation({ projectId: id });
  assert.equal((await refusal(viewer.updateProject(id, { name: 'Mine', last_accessed_at })))[0], 'FORBIDDEN');
  assert.deepEqual(await db.getProject(id), before);
  const after = await db.updateProject(id, { name: 'New', last_accessed_at });
  assert.equal(after.name, 'New');
  assert.ok(after.last_accessed_at > before.last_accessed_at && after.updated_at > before.updated_at);
  assert.deepEqual(await db.getProject(id), after);
  // Also if it deletes the project, or brings it back.
  assert.equal((await db.updateProject(id, { ...after, status: 'deleted' })).status, 'deleted');
  assert.equal((await refusal(db.updateProjectAccess(id)))[0], 'CONFLICT');
  assert.deepEqual((await db.getUserProjects({ status: 'deleted' }, { limit: 1 })).data.map((each) => each.id), [id]);
  assert.equal((await db.updateProject(id, { ...after, status: 'active' })).status, 'active');
  // There, each update of the row sets its time.
  assert.ok((await db.updateProject(id, { updated_at: before.updated_at })).updated_at > after.updated_at);
});

test('a page that cannot be is refused, and what is not given has its default', async () => {
  const { id, session } = await project();
  const lists = [
    (pagination) => reader.getUserProjects({}, pagination),
    (pagination) => reader.getProjectChatSessions(id, {}, pagination),
    (pagination) => reader.getSessionMessages(session.id, {}, pagination),
    (pagination) => reader.getSessionMessages(session.id, {}, { sort_by: 'content', ...pagination }),
  ];
  for (const list of lists) {
    for (const bad of [NaN, null, -1, 0, 1.5, Infinity, -Infinity, '2', true, 2 ** 53]) {
      for (const field of ['page', 'limit']) assert.deepEqual(await refusal(list({ [field]: bad })), ['BAD_USER_INPUT', field], `${field} ${bad}`);
    }
    for (const bad of ['up', 'ASC', '', null, true]) assert.deepEqual(await refusal(list({ sort_order: bad })), ['BAD_USER_INPUT', 'sort_order']);
    for (const bad of [null, '', 'nonsense', 'constructor', 'toString', 'user_id desc']) {
      assert.deepEqual(await refusal(list({ sort_by: bad })), ['BAD_USER_INPUT', 'sort_by'], bad);
    }
    assert.deepEqual(await refusal(list({ offset: 3 })), ['BAD_USER_INPUT', 'offset']);
    const { pagination } = await list({ page: undefined, limit: undefined, sort_order: undefined });
    assert.deepEqual([pagination.page, [20, 50].includes(pagination.limit)], [1, true]);
  }
  for (const none of [null, 'text', 7]) {
    assert.equal((await refusal(reader.getUserProjects(none)))[0], 'BAD_USER_INPUT');
    assert.equal((await refusal(reader.getUserProjects({}, none)))[0], 'BAD_USER_INPUT');
  }
  for (const bad of [NaN, null, -1, 1.5, Infinity, '2']) assert.deepEqual(await refusal(reader.getRecentActivity(bad)), ['BAD_USER_INPUT', 'limit']);
  assert.deepEqual(await reader.getRecentActivity(0), []);
  assert.ok(Array.isArray(await reader.getRecentActivity(undefined)));
  // Filters: what is falsy was no filter there, unless it is one of two truths.
  assert.deepEqual(await refusal(reader.getUserProjects({ owner: 'x' })), ['BAD_USER_INPUT', 'owner']);
  assert.deepEqual(await refusal(reader.getProjectChatSessions(id, { is_active: null })), ['BAD_USER_INPUT', 'is_active']);
  assert.deepEqual(await refusal(reader.getSessionMessages(session.id, { is_checkpoint: null })), ['BAD_USER_INPUT', 'is_checkpoint']);
  assert.equal((await reader.getProjectChatSessions(id, { is_active: undefined, started_after: null, started_before: '' })).data.length, 1);
});

test('what differs from the original is what the README lists', async () => {
  const { id, made } = await project();
  // A write of what is there is none.
  const file = await db.createProjectFile(id, { file_path: '/src//lib/./a.py', file_name: 'a.py', file_type: 'file', content: 'a' });
  const revision = await db.getRevision(id);
  assert.equal((await db.updateProjectFile(id, { file_path: 'src/lib/a.py', content: 'a', change_description: 'same' })).version, 1);
  assert.deepEqual([await db.getRevision(id), await db.getFileSnapshots(file.id)], [revision, []]);
  // Paths are normalized, and name and folder are theirs.
  assert.deepEqual([file.file_path, file.file_name, file.parent_path, file.language], ['src/lib/a.py', 'a.py', 'src/lib', 'python']);
  for (const file_path of ['src/lib/a.py', '/src/lib/a.py', './src//lib/a.py', 'src/lib/a.py/']) {
    assert.equal((await db.getProjectFile(id, file_path)).id, file.id);
  }
  for (const [values, field] of [[{ file_path: '../b' }, 'file_path'], [{ file_path: '' }, 'file_path'], [{ file_name: 'c' }, 'file_name'], [{ file_name: '' }, 'file_name'], [{ parent_path: 'lib' }, 'parent_path'], [{ file_path: 'src/b', parent_path: '/' }, 'parent_path']]) {
    const given = { file_path: 'b', file_name: 'b', file_type: 'file', ...values };
    assert.deepEqual(await refusal(db.createProjectFile(id, given)), ['BAD_USER_INPUT', field], JSON.stringify(values));
  }
  for (const parent_path of [undefined, null, '', 'src', '/src/', './src']) {
    const path = `src/${crypto.randomUUID()}`;
    const empty = await db.createProjectFile(id, { file_path: path, file_name: path.slice(4), file_type: 'file', content: null, language: null, parent_path });
    assert.deepEqual([empty.content, empty.parent_path, empty.language], ['', 'src', null]);
  }
  assert.equal((await db.createProjectFile(id, { file_path: 'b.txt', file_name: 'b.txt', file_type: 'file', language: 'markdown' })).language, 'markdown');
  // A folder is deleted with its files.
  await db.deleteProjectFile(id, 'src');
  assert.deepEqual((await db.getProjectFiles(id)).map(({ file_path }) => file_path), ['b.txt']);
  // No file is at a path that cannot be.
  for (const path of ['', '/', '..', '../a', 'a/../b', 'x'.repeat(2_000), 'a\0b']) {
    assert.equal(await db.getProjectFile(id, path), null);
    assert.equal(await db.deleteProjectFile(id, path), undefined);
  }
  // A project's name is not empty, and it has no columns of later versions.
  for (const name of ['', ' ']) {
    assert.deepEqual(await refusal(db.updateProject(id, { name })), ['BAD_USER_INPUT', 'name']);
    assert.deepEqual(await refusal(db.createProject({ name, initial_prompt: '', config: {} })), ['BAD_USER_INPUT', 'name']);
  }
  for (const column of ['visibility', 'category', 'project_emoji', 'view_count']) {
    assert.ok(!(column in made));
    assert.deepEqual(await refusal(db.updateProject(id, { [column]: 'x' })), ['BAD_USER_INPUT', column]);
    assert.deepEqual(await refusal(db.createProject({ name: 'n', initial_prompt: 'p', config: {}, [column]: 'x' })), ['BAD_USER_INPUT', column]);
  }
});

test('what another user has is answered like what is not there', async () => {
  const { id, session } = await project();
  const file = await db.createProjectFile(id, { file_path: 'a', file_name: 'a', file_type: 'file', content: 'a' });
  await db.updateProjectFile(id, { file_path: 'a', content: 'b' });
  const [state] = await db.getFileSnapshots(file.id);
  const [change] = await db.getProjectCodeChanges(id);
  const snapshot = await db.createProjectSnapshot(id);
  const revision = await db.getRevision(id);
  const hers = await stranger();
  const none = crypto.randomUUID();
  const column = (row) => Object.fromEntries(Object.entries(row).slice(0, 11));
  const answer = (call) => call.catch((error) => (assert.ok(error instanceof AntiphonError, String(error)), `${error.code} ${error.message}`));
  const calls = [
    (of) => hers.getUserProfile(of.user), (of) => hers.getProject(of.id), (of) => hers.updateProject(of.id, { name: 'x' }), (of) => hers.updateProjectAccess(of.id),
    (of) => hers.deleteProject(of.id), (of) => hers.createChatSession({ project_id: of.id }), (of) => hers.getChatSession(of.session), (of) => hers.getActiveSession(of.id),
    (of) => hers.endChatSession(of.session), (of) => hers.getProjectChatSessions(of.id), (of) => hers.createChatMessage({ session_id: of.session, role: 'user', content: 'x' }),
    (of) => hers.getSessionMessages(of.session), (of) => hers.getCheckpointMessages(of.session), (of) => hers.createProjectFile(of.id, { file_path: 'x', file_name: 'x', file_type: 'file' }),
    (of) => hers.getProjectFiles(of.id, true), (of) => hers.getProjectFile(of.id, 'a'), (of) => hers.updateProjectFile(of.id, { file_path: 'a', content: 'x' }),
    (of) => hers.deleteProjectFile(of.id, 'a'), (of) => hers.createFileSnapshot({ ...state, project_id: of.id, file_id: of.file }), (of) => hers.getFileSnapshots(of.file),
    (of) => hers.revertFileToSnapshot(of.file, of.state), (of) => hers.createProjectSnapshot(of.id), (of) => hers.getProjectSnapshots(of.id), (of) => hers.restoreProjectSnapshot(of.snapshot),
    (of) => hers.createCodeChange({ ...column(change), project_id: of.id, file_id: of.file }), (of) => hers.getProjectCodeChanges(of.id), (of) => hers.getProjectStats(of.id),
    (of) => hers.syncVirtualFileSystemToDatabase(of.id, of.session, '', [{ path: 'a', name: 'a', content: 'x', type: 'file' }]),
    (of) => hers.syncVirtualFileSystemToDatabase(of.id, '', '', [{ path: 'a', name: 'a', type: 'file' }]),
  ];
  const there = { id, session: session.id, file: file.id, state: state.id, snapshot: snapshot.id, user: session.user_id };
  const nothing = { id: none, session: none, file: none, state: none, snapshot: none, user: none };
  for (const call of calls) assert.deepEqual(await answer(call(there)), await answer(call(nothing)), `${call}`);
  assert.deepEqual([(await hers.getUserProjects()).data, await hers.getRecentActivity()], [[], []]);
  assert.equal(await db.getRevision(id), revision);
});

test('an error names the column that the caller has passed, whoever refuses it', async () => {
  const { id, session } = await project();
  const none = crypto.randomUUID();
  const lone = '\ud800';
  const file = { file_path: 'a', file_name: 'a', file_type: 'file' };
  await db.createProjectFile(id, file);
  const sync = (...files) => db.syncVirtualFileSystemToDatabase(id, '', '', files);
  const folder = { path: 'd', name: 'd', type: 'folder' };
  const of = (path, content) => ({ path, name: path.split('/').at(-1), content, type: 'file' });
  for (const [call, field] of [
    [() => db.createProject({ name: 'n', initial_prompt: lone, config: {} }), 'initial_prompt'],
    [() => db.updateProject(id, { initial_prompt: lone }), 'initial_prompt'],
    [() => db.updateProject(id, { initial_prompt: null }), 'initial_prompt'],
    [() => db.updateProject('no id', { name: 'n' }), 'id'],
    [() => db.updateProject(id, { last_accessed_at: 'yesterday' }), 'last_accessed_at'],
    [() => db.updateProject(id, { updated_at: 'yesterday' }), 'updated_at'],
    [() => db.updateUserProfile({ full_name: lone }), 'full_name'],
    [() => db.updateUserProfile({ avatar_url: 5 }), 'avatar_url'],
    [() => db.getUserProjects({ created_after: 'yesterday' }), 'created_after'],
    [() => db.getUserProjects({ search: 'x'.repeat(5_000) }), 'search'],
    [() => db.getUserProjects({ createdAfter: '2020-01-01' }), 'createdAfter'],
    [() => db.createChatSession({ project_id: none }), 'project_id'],
    [() => db.createChatSession({ project_id: id, title: lone }), 'title'],
    [() => db.getProjectChatSessions(id, { started_before: 'yesterday' }), 'started_before'],
    [() => db.getProjectChatSessions(id, { is_active: null }), 'is_active'],
    [() => db.createChatMessage({ session_id: none, role: 'user', content: 'x' }), 'session_id'],
    [() => db.createChatMessage({ session_id: session.id, role: 'user', content: 'x', is_checkpoint: 5 }), 'is_checkpoint'],
    [() => db.createChatMessage({ session_id: session.id, role: 'user', content: 'x', context_data: { a: lone } }), 'context_data'],
    [() => db.getSessionMessages(session.id, { timestamp_after: 'yesterday' }), 'timestamp_after'],
    [() => db.getSessionMessages(session.id, { timestamp_before: 'yesterday' }), 'timestamp_before'],
    [() => db.createProjectFile(id, { ...file, file_path: '../a' }), 'file_path'],
    [() => db.createProjectFile(id, file), 'file_path'],
    [() => db.createProjectFile(id, { ...file, file_path: 'b', file_name: 'b', file_type: 'link' }), 'file_type'],
    [() => db.createProjectFile(none, file), 'project_id'],
    [() => db.updateProjectFile(id, { file_path: 'none', content: '' }), 'file_path'],
    [() => db.updateProjectFile(id, { file_path: 'a', content: 'x', change_description: lone }), 'change_description'],
    [() => db.updateProjectFile(id, { file_path: 'a', content: 'x' }, none), 'session_id'],
    [() => db.updateProjectFile(id, { file_path: 'a', content: 'x' }, session.id, none), 'message_id'],
    [() => db.revertFileToSnapshot(none, none), 'file_id'],
    [() => db.restoreProjectSnapshot(none), 'snapshot_id'],
    [() => db.createProjectSnapshot(id, none), 'session_id'],
    [() => sync(of('b', 'x'), of('../b', 'x')), 'files[1].path'],
    [() => sync(folder, of('b', lone)), 'files[1].content'],
    [() => sync(folder, of('a'), of('../c')), 'files[2].path'],
    [() => sync(of('b', 'x'), { ...of('c', 'x'), name: 'd' }), 'files[1].name'],
    [() => sync(of('b', 'x'), { ...of('c', 'x'), type: 'link' }), 'files[1].type'],
    [() => db.syncVirtualFileSystemToDatabase(id, none, '', [of('b', 'x')]), 'session_id'],
    [() => db.syncVirtualFileSystemToDatabase(id, '', '', [of('b', 'x')], lone), 'change_description'],
    [() => db.uploadFile(id, '../b', 'x'), 'path'],
    [() => db.uploadFile(id, 'b', 'x', { session_id: none }), 'session_id'],
    [() => db.uploadFile(id, 'b', 'x', { sessionId: none }), 'sessionId'],
    [() => db.writeMessage({ session_id: none, role: 'user' }, ['x']), 'session_id'],
    [() => db.writeMessage({ session_id: session.id, role: 'user', metadata: { a: lone } }, ['x']), 'metadata'],
    // What takes the API's names has them in its errors.
    [() => db.query('mutation ($input: UpdateProjectInput!) { updateProject(input: $input) { revision } }', { input: { id, initialPrompt: lone } }), 'initialPrompt'],
    [() => db.api.renameFile({ projectId: id, path: 'a', newPath: '../b' }), 'newPath'],
  ]) {
    assert.equal((await refusal(call()))[1], field, `${call}`);
  }
  assert.equal((await db.getProjectFiles(id)).length, 1);
});

test('a folder that only its files imply has no row', async () => {
  const { id } = await project();
  await db.createProjectFile(id, { file_path: 'src/lib/a.py', file_name: 'a.py', file_type: 'file' });
  for (const path of ['src', '/src/', 'src/lib', './src//lib/']) assert.equal(await db.getProjectFile(id, path), null, path);
  // Once it is created it has one, and keeps it without files.
  const made = await db.createProjectFile(id, { file_path: 'src', file_name: 'src', file_type: 'folder' });
  assert.deepEqual(await db.getProjectFile(id, 'src'), made);
  await db.deleteProjectFile(id, 'src/lib/a.py');
  assert.deepEqual([await db.getProjectFile(id, 'src'), await db.getProjectFile(id, 'src/lib')], [made, null]);
  assert.deepEqual((await db.getProjectFiles(id)).map((each) => each.id), [made.id]);
  assert.match(made.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test('a deleted file keeps its content and its size', async () => {
  const { id } = await project();
  const text = await db.createProjectFile(id, { file_path: 'a.md', file_name: 'a.md', file_type: 'file', content: 'gr\u00fc\u00df' });
  const bytes = await db.uploadFile(id, 'b.bin', Uint8Array.of(0, 255, 254));
  const empty = await db.createProjectFile(id, { file_path: 'c', file_name: 'c', file_type: 'file' });
  for (const { file_path } of [text, bytes, empty]) await db.deleteProjectFile(id, file_path);
  const deleted = await db.getProjectFiles(id, true);
  for (const [at, file] of [text, bytes, empty].entries()) {
    const { version, updated_at } = deleted[at];
    assert.deepEqual(deleted[at], { ...file, is_deleted: true, version, updated_at });
  }
});

test('a user sees only their own profile', async () => {
  const { id } = await project();
  const hers = await stranger();
  const [me, her] = [await db.getUserProfile(), await hers.getUserProfile()];
  await db.api.inviteCollaborator({ projectId: id, userId: her.id, role: 'EDITOR' });
  await hers.api.acceptInvitation({ projectId: id });
  assert.deepEqual([await db.getUserProfile(her.id), await hers.getUserProfile(me.id), await db.getUserProfile(crypto.randomUUID())], [null, null, null]);
  for (const own of [me.id, me.id.toUpperCase(), undefined, '']) assert.deepEqual(await db.getUserProfile(own), me);
  assert.match(her.email, /@/);
  assert.equal((await refusal(db.getUserProfile('no id')))[0], 'BAD_USER_INPUT');
  // The names of the members are in the list of members.
  assert.ok((await db.api.collaborators({ projectId: id })).some(({ user }) => user.id === her.id));
});

test('an update of a project moves only its own time', async () => {
  const { id, made } = await project();
  const times = async () => {
    const { updated_at, last_accessed_at } = await db.getProject(id);
    return [updated_at, last_accessed_at];
  };
  // A change moves `updated_at` alone, also if the whole row is passed back.
  const [first, opened] = await times();
  await db.updateProject(id, { ...made, name: 'Renamed' });
  const [second, still] = await times();
  assert.ok(second > first);
  assert.equal(still, opened);
  // It is the server's: no value of it is stored, and without a change nothing is.
  for (const updated_at of [second, made.updated_at, new Date(Date.now() + 60_000).toISOString(), null]) {
    await db.updateProject(id, { updated_at });
    assert.deepEqual(await times(), [second, opened], updated_at);
  }
  // A time before the last access is one that the caller has read.
  for (const last_accessed_at of [opened, '2020-01-01T00:00:00Z', '2020-01-01', opened.slice(0, 19).replace('T', ' '), new Date(Date.parse(opened))]) {
    await db.updateProject(id, { last_accessed_at });
    assert.deepEqual(await times(), [second, opened], last_accessed_at);
  }
  // Opening it moves both, as there.
  let [third, later] = [second, opened];
  const soon = new Date(Date.now() + 60_000);
  for (const last_accessed_at of [soon, soon.toISOString(), soon.toUTCString(), soon.toISOString().slice(0, 23).replace('T', ' ')]) {
    await db.updateProject(id, { last_accessed_at });
    const now = await times();
    assert.ok(now[0] > third && now[1] > later, `${last_accessed_at}`);
    [third, later] = now;
  }
  await db.updateProjectAccess(id);
  const [fourth, last] = await times();
  assert.ok(fourth > third && last > later);
});
