// What the db package has besides the original's calls: the API's others, bytes, messages piece by piece, any operation.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

import { buildSchema, Kind, parse, TypeInfo, visit, visitWithTypeInfo } from 'graphql';

import { compile, install, own, proxy, tokenFor } from './package.mjs';
import { eventually, schemaFile, url } from './server.mjs';

const app = await install();
const { AntiphonError, DatabaseService } = await app.entry('index');
const { documents } = await app.entry('documents');
const db = new DatabaseService({ url, token: process.env.TOKEN });
const code = (call) => call.then(() => 'nothing', (error) => (assert.ok(error instanceof AntiphonError, String(error)), error.code));

async function project() {
  const { id } = await db.createProject({ name: 'More', initial_prompt: 'p', config: {} });
  return { id, session: await db.createChatSession({ project_id: id }) };
}

test('each field of the roots is in a document of the package, and what uses them compiles strictly', async () => {
  const schema = buildSchema(await readFile(schemaFile, 'utf8'));
  const used = new Set();
  for (const text of Object.values(documents)) {
    const info = new TypeInfo(schema);
    const Field = ({ name }) => void used.add(`${info.getParentType()}.${name.value}`);
    visit(parse(text), visitWithTypeInfo(info, { [Kind.FIELD]: Field }));
  }
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  const fields = roots.flatMap((type) => Object.keys(type.getFields()).map((name) => `${type}.${name}`));
  assert.deepEqual(fields.filter((field) => !used.has(field)), []);
  await cp(own('api.ts'), join(app.folder, 'api.ts'));
  await compile(app, 'api.ts');
});

test('the types have no generic arrays of bytes, which TypeScript has since 5.7', async () => {
  const names = (await readdir(join(app.installed, 'dist'))).filter((name) => name.endsWith('.d.ts'));
  for (const name of names) {
    const text = await readFile(join(app.installed, 'dist', name), 'utf8');
    assert.doesNotMatch(text, /\b(?:Uint8|Uint32)Array</, name);
  }
});

test('agent configurations', async () => {
  const { id: projectId } = await project();
  const values = {
    projectId, configName: 'Main', sttProvider: 'deepgram', sttModel: 'nova-2', ttsProvider: 'elevenlabs', ttsModel: 'turbo',
    llmProvider: 'openai', llmModel: 'gpt-4o', llmConfig: { temperature: 0.5 }, agentInstructions: 'Be brief.',
  };
  const { agentConfiguration: main } = await db.api.saveAgentConfiguration(values);
  const { agentConfiguration: other } = await db.api.saveAgentConfiguration({ ...values, configName: 'Other' });
  assert.deepEqual([main.llmConfig, main.isActive, other.isActive], [{ temperature: 0.5 }, true, true]);
  const active = async () => (await db.api.agentConfigurations({ projectId, activeOnly: true })).map(({ configName }) => configName);
  assert.deepEqual(await active(), ['Other']);
  await db.api.setAgentConfigurationActive({ id: main.id, isActive: true });
  assert.deepEqual(await active(), ['Main']);
  assert.equal(await code(db.api.saveAgentConfiguration({ ...values, id: main.id, expectedVersion: 1 })), 'CONFLICT');
  await db.api.deleteAgentConfiguration({ id: main.id });
  assert.equal((await db.api.agentConfigurations({ projectId })).length, 1);
  await db.api.restoreAgentConfiguration({ id: main.id, version: 1 });
  assert.equal((await db.api.agentConfigurations({ projectId })).length, 2);
  assert.equal(await code(db.api.agentConfigurations({ projectId: crypto.randomUUID() })), 'NOT_FOUND');
});

test('collaborators', async () => {
  const { id: projectId } = await project();
  const grace = { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` };
  const hers = new DatabaseService({ url, token: await tokenFor(600, grace) });
  const her = await hers.getCurrentUserId();
  assert.equal(await hers.getProject(projectId), null);
  await db.api.inviteByEmail({ projectId, email: grace.email, role: 'VIEWER' });
  await db.api.withdrawEmailInvitation({ projectId, email: grace.email });
  await db.api.inviteCollaborator({ projectId, userId: her, role: 'VIEWER' });
  const [invitation] = (await hers.api.invitations()).nodes;
  assert.deepEqual([invitation.projectId, invitation.projectName, invitation.role], [projectId, 'More', 'VIEWER']);
  await hers.api.acceptInvitation({ projectId });
  assert.equal((await hers.getProject(projectId)).id, projectId);
  assert.equal(await code(hers.createProjectFile(projectId, { file_path: 'a', file_name: 'a', file_type: 'file' })), 'FORBIDDEN');
  assert.equal((await db.api.changeCollaboratorRole({ projectId, userId: her, role: 'EDITOR' })).collaborator.role, 'EDITOR');
  await hers.createProjectFile(projectId, { file_path: 'a', file_name: 'a', file_type: 'file' });
  assert.deepEqual((await db.api.collaborators({ projectId })).filter(({ user }) => user.id === her).map(({ role }) => role), ['EDITOR']);
  await db.api.transferOwnership({ projectId, userId: her });
  await db.api.leaveProject({ projectId });
  assert.equal(await db.getProject(projectId), null);
});

test('a machine acts in its project with an access token', async () => {
  const { id: projectId } = await project();
  const { token, accessToken } = await db.api.createAccessToken({ projectId, name: 'Phone line', role: 'EDITOR' });
  const machine = new DatabaseService({ url, token });
  await machine.createProjectFile(projectId, { file_path: 'a', file_name: 'a', file_type: 'file' });
  assert.equal(await code(machine.createProject({ name: 'More', initial_prompt: 'p', config: {} })), 'FORBIDDEN');
  assert.deepEqual((await db.api.accessTokens({ projectId })).map(({ name, role }) => [name, role]), [['Phone line', 'EDITOR']]);
  assert.deepEqual(await machine.api.accessTokens({ projectId }), []);
  await db.api.revokeAccessToken({ accessTokenId: accessToken.id });
  assert.equal(await code(machine.getProject(projectId)), 'UNAUTHENTICATED');
});

test('all requests of one call are for one user, also if another signs in meanwhile', async () => {
  const { id } = await project();
  const grace = await tokenFor(600, { sub: crypto.randomUUID(), email: 'grace@example.com' });
  let signsIn = true;
  const shared = new DatabaseService();
  shared.connect({
    url,
    token: process.env.TOKEN,
    fetch: async (...request) => {
      if (signsIn) shared.connect({ token: grace });
      signsIn = false;
      return fetch(...request);
    },
  });
  assert.equal((await shared.uploadFile(id, 'a.bin', new Uint8Array([1, 2]))).file_path, 'a.bin');
  assert.equal(await shared.getProject(id), null);
  shared.connect({ token: process.env.TOKEN });
  assert.equal((await shared.getProject(id)).id, id);
});

test('a call ends if its token becomes that of another user', async () => {
  const { id, session } = await project();
  const grace = await tokenFor(600, { sub: crypto.randomUUID(), email: 'grace@example.com' });
  const tokens = () => {
    let count = 0;
    return () => (count++ === 0 ? process.env.TOKEN : grace);
  };
  const sent = [];
  const changing = () =>
    new DatabaseService({
      url,
      token: tokens(),
      fetch: (...request) => {
        sent.push(request[1].headers.Authorization);
        return fetch(...request);
      },
    });
  assert.equal(await code(changing().uploadFile(id, 'a.bin', 'x')), 'FORBIDDEN');
  assert.equal(await code(changing().writeMessage({ session_id: session.id, role: 'assistant' }, ['x'])), 'FORBIDDEN');
  assert.ok(sent.length > 0 && sent.every((header) => header === `Bearer ${process.env.TOKEN}`));
});

test('an aborted query throws the reason of its signal', async () => {
  const reason = new Error('The page is closed.');
  await assert.rejects(db.query('{ viewer { id } }', {}, { signal: AbortSignal.abort(reason) }), reason);
  const stop = new AbortController();
  const waiting = new DatabaseService({ url, token: process.env.TOKEN, fetch: (_, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) });
  const asked = waiting.query('{ viewer { id } }', {}, { signal: stop.signal });
  setTimeout(() => stop.abort(), 10);
  await assert.rejects(asked, { name: 'AbortError' });
  // Also while a token, an answer's end, or a `fetch` that ignores its signal does not come.
  const never = () => new Promise(() => {});
  const body = () => new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode('{"data":')) });
  for (const settings of [{ token: never }, { fetch: never }, { fetch: async () => new Response(body()) }]) {
    const end = new AbortController();
    const hanging = new DatabaseService({ url, token: process.env.TOKEN, ...settings }).query('{ viewer { id } }', {}, { signal: end.signal });
    setTimeout(() => end.abort(reason), 10);
    await assert.rejects(hanging, reason);
  }
});

test('bytes and texts go up and come down as they are', async () => {
  const { id, session } = await project();
  const bytes = crypto.getRandomValues(new Uint8Array(40_000));
  const file = await db.uploadFile(id, 'logo.bin', bytes, { session_id: session.id, message_id: 'msg_1764000000', change_description: 'Logo' });
  assert.deepEqual([file.file_path, file.size_bytes, file.version, file.content], ['logo.bin', 40_000, 1, null]);
  assert.deepEqual(await db.downloadFile(id, 'logo.bin'), bytes);
  const revision = await db.getRevision(id);
  for (const [data, expected] of [
    [new Blob([bytes, 'x']), Buffer.concat([bytes, Buffer.from('x')])],
    ['\ufefftext \u{1f600}\r\n', Buffer.from('\ufefftext \u{1f600}\r\n')],
    [new Uint8Array(0), Buffer.alloc(0)],
    [Uint8Array.of(0xff, 0xfe, 0x61, 0).buffer, Buffer.of(0xff, 0xfe, 0x61, 0)],
  ]) {
    await db.uploadFile(id, 'logo.bin', data);
    assert.deepEqual(Buffer.from(await db.downloadFile(id, 'logo.bin')), expected);
  }
  // What is no data empties no file.
  const before = await db.getRevision(id);
  for (const nothing of [undefined, null, 5, {}, [1, 2], true]) assert.equal(await code(db.uploadFile(id, 'logo.bin', nothing)), 'BAD_USER_INPUT');
  assert.equal(await db.getRevision(id), before);
  // An id that the IDE made names no message.
  await db.uploadFile(id, 'logo.bin', 'x', { message_id: 'msg_1764000000' });
  assert.deepEqual(await db.downloadFile(id, 'logo.bin', revision), bytes);
  assert.equal((await db.getProjectCodeChanges(id)).at(-1).change_description, 'Logo');
  await db.createProjectFile(id, { file_path: 'docs', file_name: 'docs', file_type: 'folder' });
  assert.deepEqual([await db.downloadFile(id, 'none'), await db.downloadFile(id, 'docs')], [null, null]);
});

test('a whole project comes down as one file, with progress', async () => {
  const { id } = await project();
  await db.uploadFile(id, 'a.bin', randomBytes(300_000));
  const progress = [];
  const file = await db.downloadProject(id, { onProgress: (each) => progress.push(each) });
  assert.equal(file.type, 'application/vnd.sqlite3');
  assert.equal(await file.slice(0, 15).text(), 'SQLite format 3');
  assert.ok(file.size > 300_000);
  const last = progress.at(-1);
  assert.deepEqual([last.rows, last.bytes], [last.totalRows, last.totalBytes]);
  assert.equal(last.bytes, file.size);
  assert.ok(last.rows > 3 && progress.some(({ totalBytes }) => totalBytes === null), JSON.stringify(last));
  for (const name of ['rows', 'bytes']) assert.deepEqual(progress.map((each) => each[name]), progress.map((each) => each[name]).sort((a, b) => a - b));

  // However the response is cut into pieces.
  const bytes = Buffer.from(await file.arrayBuffer());
  const text = (json) => `--b\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(json)}\r\n`;
  const head = `--b\r\nContent-Type: application/vnd.sqlite3\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  const whole = Buffer.concat([Buffer.from(text({ rows: 0, totalRows: null }) + text({ rows: 9, totalRows: 9 }) + head), bytes, Buffer.from('\r\n--b--\r\n')]);
  const answering = (answer, size, type = 'multipart/mixed; boundary=b') => new DatabaseService({
    url: 'http://host/base/graphql',
    fetch: async (url) => {
      assert.equal(url, `http://host/base/projects/${id}/project.antiphon`);
      let at = 0;
      const pull = (to) => (at < answer.length ? to.enqueue(new Uint8Array(answer.subarray(at, (at += size)))) : to.close());
      return new Response(new ReadableStream({ pull }), { headers: { 'content-type': type } });
    },
  });
  for (const size of [997, 4_096, whole.length]) {
    const again = await answering(whole, size).downloadProject(id);
    assert.ok(Buffer.from(await again.arrayBuffer()).equals(bytes), `${size}`);
  }
  for (const size of [1, 2, 3]) {
    const short = Buffer.from(`${text({ rows: 1, totalRows: 1 })}--b\r\nContent-Length: 5\r\n\r\n\n\r\n--\r\n--b--\r\n`);
    assert.equal(await (await answering(short, size).downloadProject(id)).text(), '\n\r\n--');
  }
  // What ends early, or is something else, is no file.
  for (const end of [10, head.length + 200, whole.length - 20, whole.length - 8]) {
    await assert.rejects(answering(whole.subarray(0, end), 1_000).downloadProject(id), { code: 'NETWORK' }, `${end}`);
  }
  const failure = text({ errors: [{ message: 'No room.', extensions: { code: 'RATE_LIMITED' } }] });
  await assert.rejects(answering(Buffer.from(`${failure}--b--\r\n`), 9).downloadProject(id), { code: 'RATE_LIMITED', message: 'No room.' });
  await assert.rejects(answering(Buffer.from('--b--\r\n'), 9).downloadProject(id), { code: 'NETWORK' });
  await assert.rejects(answering(Buffer.from('<html>'), 9, 'text/html').downloadProject(id), { code: 'NETWORK' });
  assert.equal(await code(db.downloadProject('none')), 'BAD_USER_INPUT');
  assert.equal(await code(db.downloadProject(crypto.randomUUID())), 'NOT_FOUND');
  const stop = new AbortController();
  const reason = new Error('enough');
  await assert.rejects(db.downloadProject(id, { signal: stop.signal, onProgress: () => stop.abort(reason) }), reason);
  // The server takes the next one when it has noticed.
  await eventually(() => db.downloadProject(id).then(({ size }) => size > 0, () => false), 'the next download');
});

test('a message is written while its text comes, and is heard so', async () => {
  const { session } = await project();
  const text = ['Here ', 'is \ud83d', '\ude00 ', 'x'.repeat(70_000), '', 'the end.'];
  let heard = '';
  let listening;
  const message = await db.writeMessage({ session_id: session.id, role: 'assistant', is_checkpoint: true, metadata: { a: 1 } }, (async function* () {
    yield* text;
  })(), (messageId) => {
    listening = (async () => {
      for await (const piece of db.onMessageText(messageId)) heard += piece.text;
    })();
  });
  await listening;
  assert.deepEqual([message.content, message.is_checkpoint, message.metadata], [text.join(''), true, { a: 1 }]);
  assert.equal(heard, text.join(''));
  // What fails half-way leaves no message.
  const failing = db.writeMessage({ session_id: session.id, role: 'assistant' }, (async function* () {
    yield 'half';
    throw new Error('The model is away.');
  })());
  await assert.rejects(failing, /The model is away/);
  assert.deepEqual((await db.getSessionMessages(session.id)).data.map(({ id }) => id), [message.id]);
  const lone = await code(db.writeMessage({ session_id: session.id, role: 'assistant' }, ['half \ud83d']));
  assert.equal(lone, 'BAD_USER_INPUT');
});

test('a message has exactly its text, whatever answers are lost on the way', async () => {
  const { session } = await project();
  const text = ['One ', 'two \u{1f600} ', 'y'.repeat(40_000), ' three.'];
  // The server has committed, but nobody receives its answer, or a proxy answers instead; or the request never gets there.
  const losses = [
    (to, init) => fetch(to, init).then(() => Promise.reject(new TypeError('cut'))),
    (to, init) => fetch(to, init).then(() => new Response('<html>', { status: 504 })),
    (to, init) => fetch(to, init).then(() => Response.json({ data: null, errors: [{ message: 'busy', extensions: { code: 'RATE_LIMITED' } }] })),
    async () => Promise.reject(new TypeError('cut')),
  ];
  for (const lose of losses) {
    const tries = new Map();
    const service = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
      // Each request is lost twice.
      const count = (tries.get(init.body) ?? 0) + 1;
      tries.set(init.body, count);
      return count > 2 ? fetch(to, init) : lose(to, init);
    } });
    const message = await service.writeMessage({ session_id: session.id, role: 'assistant', is_checkpoint: true }, text);
    assert.equal(message.content, text.join(''));
    assert.deepEqual([...new Set(tries.values())], [3]);
    // The start, the first piece, two full parts and the rest, and the end.
    assert.equal(tries.size, 1 + 1 + 2 + 1 + 1);
    const { data } = await db.getSessionMessages(session.id, {}, { sort_order: 'desc' });
    assert.deepEqual(data[0], message);
  }
  assert.equal((await db.getSessionMessages(session.id)).pagination.total, losses.length);
  // A token that expires on the way is followed by another one.
  const expired = await tokenFor(-60);
  let asked = 0;
  const late = new DatabaseService({ url, token: () => ((asked += 1) % 2 ? expired : process.env.TOKEN) });
  assert.equal((await late.writeMessage({ session_id: session.id, role: 'assistant' }, text)).content, text.join(''));
  assert.equal(await code(new DatabaseService({ url, token: expired }).writeMessage({ session_id: session.id, role: 'assistant' }, text)), 'UNAUTHENTICATED');
  // So is one that a gateway refuses, in whatever form.
  for (const body of ['<html>Unauthorized</html>', '{"message":"Invalid JWT"}', '']) {
    asked = 0;
    const behind = new DatabaseService({ url, token: () => `${asked += 1}`, fetch: async (to, init) => {
      const count = Number(init.headers.Authorization.split(' ')[1]);
      if (count % 2) return new Response(body, { status: 401 });
      return fetch(to, { ...init, headers: { ...init.headers, Authorization: `Bearer ${process.env.TOKEN}` } });
    } });
    assert.equal((await behind.writeMessage({ session_id: session.id, role: 'assistant' }, ['a', 'b'])).content, 'ab');
    assert.equal(asked, 8);
    const shut = new DatabaseService({ url, token: () => `${asked += 1}`, fetch: async () => new Response(body, { status: 401 }) });
    asked = 0;
    assert.equal(await code(shut.writeMessage({ session_id: session.id, role: 'assistant' }, ['x'])), 'UNAUTHENTICATED');
    assert.equal(asked, 3);
  }
  // What the server refuses is not sent again.
  let requests = 0;
  const service = new DatabaseService({ url, token: process.env.TOKEN, fetch: (to, init) => ((requests += 1), fetch(to, init)) });
  assert.equal(await code(service.writeMessage({ session_id: crypto.randomUUID(), role: 'assistant' }, ['x'])), 'NOT_FOUND');
  assert.equal(requests, 1);
});

/** Sources that have no end of their own, in each form, and whether they are cancelled. */
const sources = (...pieces) => {
  const iterator = (name) => {
    const source = { isCancelled: false, [name]: () => source };
    const rest = [...pieces];
    const result = () => (rest.length > 0 ? { done: false, value: rest.shift() } : { done: false, value: '.' });
    source.next = name === Symbol.iterator ? result : async () => (rest.length > 0 ? result() : new Promise(() => {}));
    source.return = () => ((source.isCancelled = true), { done: true, value: undefined });
    return [source, source];
  };
  const stream = (isIterable) => {
    const source = { isCancelled: false };
    const body = new ReadableStream({
      start: (to) => pieces.forEach((piece) => to.enqueue(piece)),
      cancel: () => void (source.isCancelled = true),
    });
    // As in Safari.
    if (!isIterable) body[Symbol.asyncIterator] = undefined;
    return [body, source];
  };
  return [iterator(Symbol.asyncIterator), iterator(Symbol.iterator), stream(true), stream(false)];
};

test('a source is cancelled if its message fails, also before its first piece', async () => {
  const { session } = await project();
  const known = { session_id: session.id, role: 'assistant' };
  const fails = async (values, expected, pieces, onStart) => {
    for (const [text, source] of sources(...pieces)) {
      assert.equal(await db.writeMessage(values, text, onStart).catch((error) => error.code ?? error.message), expected);
      assert.equal(source.isCancelled, true, expected);
    }
  };
  await fails({ ...known, session_id: crypto.randomUUID() }, 'NOT_FOUND', []);
  await fails({ ...known, role: 'tool' }, 'BAD_USER_INPUT', ['x']);
  await fails({ ...known, nonsense: 1 }, 'BAD_USER_INPUT', []);
  await fails(null, 'BAD_USER_INPUT', []);
  await fails(known, 'NOT_FOUND', ['x', 'y', 'z'], (messageId) => db.api.discardMessage({ messageId }));
  await fails(known, 'mine', [], () => { throw new Error('mine'); });
  for (const piece of [undefined, null, 5, {}, new Uint8Array(1)]) await fails(known, 'BAD_USER_INPUT', ['text', piece]);
  const locked = new ReadableStream();
  locked.getReader();
  for (const none of [undefined, null, 5, {}, locked]) assert.equal(await code(db.writeMessage(known, none)), 'BAD_USER_INPUT');
  // A generator runs to its end.
  let isOver = false;
  const generated = (async function* () {
    try {
      for (;;) yield await Promise.resolve('x');
    } finally {
      isOver = true;
    }
  })();
  await code(db.writeMessage(known, generated, (messageId) => db.api.discardMessage({ messageId })));
  await eventually(() => isOver, 'the end of the generator');
  assert.equal((await db.getSessionMessages(session.id)).pagination.total, 0);
  // What is whole is not cancelled.
  const text = new ReadableStream({ start: (to) => (to.enqueue('a'), to.enqueue('b'), to.close()), cancel: () => assert.fail() });
  text[Symbol.asyncIterator] = undefined;
  assert.equal((await db.writeMessage(known, text)).content, 'ab');
  assert.equal((await db.writeMessage(known, 'Good \u{1f600}')).content, 'Good \u{1f600}');
  assert.equal((await db.writeMessage(known, [])).content, '');
});

/** Whether nothing is left of a message that was being written. */
const isGone = async (messageId) => (await code(db.api.appendToMessage({ messageId, offset: 0, text: 'x' }))) === 'NOT_FOUND';

test('a message whose token becomes that of another user is discarded by its own user', async () => {
  const { session } = await project();
  const known = { session_id: session.id, role: 'assistant' };
  const grace = await tokenFor(600, { sub: crypto.randomUUID(), email: 'grace@example.com' });
  const writing = async (tokens, others, makesFetch = () => fetch) => {
    let id;
    let token = tokens[0];
    const service = new DatabaseService({ url, token: () => token, fetch: (...request) => makesFetch(token)(...request) });
    const text = (async function* () {
      yield 'one';
      await eventually(() => id, 'the start');
      token = tokens[1];
      yield* others;
    })();
    const error = await service.writeMessage(known, text, (messageId) => (id = messageId)).catch((problem) => problem);
    assert.ok(error instanceof AntiphonError, String(error));
    return { id, error };
  };
  // A part after the change, and the end after it.
  for (const others of [['two'], []]) {
    const { id, error } = await writing([process.env.TOKEN, grace], others);
    assert.deepEqual([error.code, error.message, error.extensions.messageId], ['FORBIDDEN', 'Another user has signed in.', undefined]);
    assert.ok(await isGone(id));
  }
  const out = await writing([process.env.TOKEN, null], ['two']);
  assert.equal(out.error.code, 'UNAUTHENTICATED');
  assert.ok(await isGone(out.id));
  // Tokens that do not name their users: the server refuses the other user's.
  const gateway = (token) => (to, init) =>
    fetch(to, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token === 'ada' ? process.env.TOKEN : grace}` } });
  const opaque = await writing(['ada', 'grace'], ['two'], () => (to, init) => gateway(init.headers.Authorization.split(' ')[1])(to, init));
  assert.equal(opaque.error.code, 'NOT_FOUND');
  assert.ok(await isGone(opaque.id));
  // Also what a request without an answer has started.
  let lost;
  let isLost = false;
  const forgotten = new DatabaseService({ url, token: () => (isLost ? grace : process.env.TOKEN), fetch: async (to, init) => {
    const response = await fetch(to, init);
    if (isLost) return response;
    isLost = true;
    lost = (await response.json()).data.startMessage.messageId;
    throw new TypeError('cut');
  } });
  assert.equal(await code(forgotten.writeMessage(known, ['x'])), 'FORBIDDEN');
  assert.ok(await isGone(lost));
  // A token that has expired meanwhile cannot discard it: the error names the message.
  const expired = (token) => (to, init) =>
    /discardMessage/.test(init.body) && token === grace ? new Response('', { status: 401 }) : fetch(to, init);
  const left = await writing([process.env.TOKEN, grace], ['two'], expired);
  assert.equal(left.error.code, 'FORBIDDEN');
  assert.equal(left.error.extensions.messageId, left.id);
  assert.match(left.error.message, /^Another user has signed in\. Message .* is still streaming/);
  assert.equal(left.error.cause.message, 'Another user has signed in.');
  await db.api.discardMessage({ messageId: left.id });
  assert.equal((await db.getSessionMessages(session.id)).pagination.total, 0);
});

test('a signal discards a message that is being written', async () => {
  const { session } = await project();
  const known = { session_id: session.id, role: 'assistant' };
  const reason = new Error('Stop.');
  for (const [text, source] of sources('Hello')) {
    const stop = new AbortController();
    let id;
    const written = db.writeMessage(known, text, (messageId) => (id = messageId), { signal: stop.signal });
    await eventually(() => id, 'the start');
    stop.abort(reason);
    await assert.rejects(written, reason);
    assert.equal(source.isCancelled, true);
    assert.ok(await isGone(id));
  }
  for (const [text, source] of sources('Hello')) {
    const end = { signal: AbortSignal.abort(reason) };
    await assert.rejects(source === text ? db.writeMessage(known, text, end) : db.writeMessage(known, text, assert.fail, end), reason);
    assert.equal(source.isCancelled, true);
  }
  // While the answer to the start is on its way: what it started is discarded as well.
  const stop = new AbortController();
  let started;
  const slow = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    const response = await fetch(to, init);
    if (!/startMessage/.test(init.body)) return response;
    const body = await response.text();
    started = JSON.parse(body).data.startMessage.messageId;
    stop.abort(reason);
    return new Response(body, { headers: response.headers });
  } });
  await assert.rejects(slow.writeMessage(known, ['x'], assert.fail, { signal: stop.signal }), reason);
  assert.ok(await isGone(started));
  // While its end is on its way: it is finished, and nothing is left to discard.
  const ending = new AbortController();
  const finishing = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    const response = await fetch(to, { ...init, signal: null });
    if (/finishMessage/.test(init.body)) ending.abort(reason);
    return response;
  } });
  await assert.rejects(finishing.writeMessage(known, ['whole'], undefined, { signal: ending.signal }), (error) => error === reason);
  assert.deepEqual((await db.getSessionMessages(session.id)).data.map(({ content }) => content), ['whole']);
  // One that is aborted later has no effect.
  const late = new AbortController();
  assert.equal((await db.writeMessage(known, ['x'], undefined, { signal: late.signal })).content, 'x');
  late.abort();
});

test('a text that comes faster than the connection is not held up by it', async () => {
  const { session } = await project();
  let requests = 0;
  let isSlow = true;
  let proceed;
  const gate = new Promise((resolve) => (proceed = resolve));
  const slow = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    if (!/appendToMessage/.test(init.body)) return fetch(to, init);
    requests += 1;
    if (isSlow) await gate;
    return fetch(to, init);
  } });
  let count = 0;
  const text = (async function* () {
    for (; count < 100_000; count += 1) yield `${count % 10} token `;
  })();
  const written = slow.writeMessage({ session_id: session.id, role: 'assistant' }, text);
  // It is read ahead while the first request is on its way, but not to its end.
  let before;
  await eventually(() => count > 1_000 && count === before || ((before = count), false), 'a full buffer');
  assert.ok(count < 20_000, `${count} pieces`);
  assert.equal(requests, 1);
  isSlow = false;
  proceed();
  const { content } = await written;
  assert.equal(content, Array.from({ length: 100_000 }, (_, n) => `${n % 10} token `).join(''));
  assert.ok(requests < 100, `${requests} requests`);
});

test('a connection that is cut between a commit and its answer loses and repeats no text', async () => {
  const { session } = await project();
  const { url: cuttable, cut } = await proxy(url);
  const service = new DatabaseService({ url: cuttable, token: process.env.TOKEN });
  const pieces = Array.from({ length: 20 }, (_, n) => `piece ${n}; `);
  const message = await service.writeMessage({ session_id: session.id, role: 'assistant' }, (async function* () {
    for (const piece of pieces) {
      yield piece;
      setImmediate(cut);
    }
  })());
  assert.equal(message.content, pieces.join(''));
});

test('undo, redo, and what a restore would do', async () => {
  const { id: projectId, session } = await project();
  const write = (content) => db.syncVirtualFileSystemToDatabase(projectId, session.id, '', [{ path: 'a.py', name: 'a.py', content, type: 'file' }]);
  const content = async () => (await db.getProjectFile(projectId, 'a.py')).content;
  await write('one\n');
  const revision = await db.getRevision(projectId);
  await write('two\n');
  const { diff } = await db.api.restorePreview({ projectId, to: { revision } });
  assert.deepEqual(diff.map(({ path, type, additions, deletions }) => [path, type, additions, deletions]), [['a.py', 'UPDATE', 1, 1]]);
  assert.deepEqual((await db.api.undo({ projectId })).changes.map(({ path }) => path), ['a.py']);
  assert.equal(await content(), 'one\n');
  await db.api.redo({ projectId });
  assert.equal(await content(), 'two\n');
  assert.equal((await db.api.restoreRevision({ projectId, revision })).changes.length, 1);
  assert.equal(await content(), 'one\n');
  assert.equal((await db.api.diff({ projectId, from: revision })).length, 0);
  await db.api.renameFile({ projectId, path: 'a.py', newPath: 'b.py' });
  assert.equal((await db.getProjectFile(projectId, 'b.py')).content, 'one\n');
});

test('a parsed document is printed as it was', async () => {
  const { print: short } = await app.entry('print');
  const text = `
    query Q($a: [ID!]! = ["x", "y"] @d, $b: In = {n: {m: -1.5e3}, e: ON, t: true, z: null}) @d(a: 1) @e {
      a: f(s: "q\\"\\n\\u{1F600}", b: """block \\""" "quoted"
        next""", l: []) @include(if: $b) { ...F @skip(if: false) ... on T @d { id } ... @d { x } ... { y } }
    }
    fragment F on T @d { id }
    mutation { m } subscription S { s } { anonymous }`;
  const tree = (each) => JSON.stringify(parse(each, { noLocation: true }), (key, value) => (key === 'block' ? undefined : value));
  for (const each of [text, ...Object.values(documents)]) assert.equal(tree(short(parse(each))), tree(each));
});

test('what is no document is refused, and sends nothing', async () => {
  const silent = new DatabaseService({ url, token: process.env.TOKEN, fetch: () => assert.fail('a request') });
  for (const document of [undefined, null, 5, true, {}, [], () => {}, Symbol('x'), { kind: 'Field' }, { definitions: [] }, { kind: 'Document', definitions: [null] }, { kind: 'Document', definitions: [{ kind: 'Field' }] }]) {
    const answer = silent.query(document);
    assert.ok(answer instanceof Promise);
    const error = await answer.catch((problem) => problem);
    assert.ok(error instanceof AntiphonError, String(error));
    assert.deepEqual([error.code, error.extensions.field], ['BAD_USER_INPUT', 'document'], String(document));
  }
  for (const text of ['', ' ', 'nonsense', new String('{ viewer {')]) assert.equal(await code(db.query(text)), 'GRAPHQL_PARSE_FAILED');
  // A signal that is none leaves no rejection behind.
  await assert.rejects(db.query('{ viewer { id } }', {}, { signal: 5 }));
});

test('any operation runs, and what fails keeps the rest', async () => {
  assert.match((await db.query('{ viewer { email } }')).viewer.email, /@/);
  const { id } = await project();
  assert.equal((await db.query(documents.Project, { id })).project.name, 'More');
  const parsed = parse('query ($id: ID!) { project(id: $id) { name } }');
  assert.equal((await db.query(parsed, { id })).project.name, 'More');
  assert.equal((await db.query(new String('{ __typename }'))).__typename, 'Query');
  assert.equal((await db.query({ ...parsed, loc: undefined }, { id })).project.name, 'More');
  const error = await db.query(`mutation ($id: ID!) {
    good: updateProject(input: {id: $id, name: "New"}) { revision }
    bad: updateFile(input: {projectId: $id, path: "nope", content: ""}) { revision }
  }`, { id }).catch((error) => error);
  assert.deepEqual([error.code, error.errors.length, error.errors[0].path, error.data.good.revision, error.data.bad], ['NOT_FOUND', 1, ['bad'], 3, null]);
  assert.equal(await db.api.then, undefined);
  assert.equal(await db.api, db.api);
  for (const name of ['nonsense', 'toString', 'constructor', 'MessageRow_']) assert.equal(await code(db.api[name]()), 'BAD_USER_INPUT', name);
  await db.api.updatePreferences({ editorTheme: 'hc-black' });
  assert.equal((await db.api.preferences()).editorTheme, 'hc-black');
  assert.ok((await db.api.activitySummary()).totalProjects > 0);
});
