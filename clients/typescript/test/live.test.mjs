// The db package's listening: what it delivers, and that it outlives connections and tokens.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

import { install, proxy, silentProxy, tokenFor } from './package.mjs';
import { eventually, url } from './server.mjs';

const { folder, entry } = await install();
const { AntiphonError, connect, DatabaseService } = await entry('index');
const db = new DatabaseService({ url, token: process.env.TOKEN });

async function project() {
  const { id } = await db.createProject({ name: 'Live', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const say = (content) => db.createChatMessage({ session_id: session.id, role: 'user', content });
  return { id, session, say };
}

/** The first `count` items. */
async function take(items, count) {
  const taken = [];
  for await (const item of items) if (taken.push(item) === count) break;
  return taken;
}

test('what happens is delivered as rows, to iterators and to callbacks', async () => {
  const { id, session, say } = await project();
  const afterRevision = await db.getRevision(id);
  const heard = { message: [], change: [], event: [] };
  const stop = [
    db.onMessage(session.id, (message) => heard.message.push(message), { afterRevision }),
    db.onCodeChange(id, (change) => heard.change.push(change), { afterRevision }),
    db.onProjectEvent(id, (event) => heard.event.push(event), { afterRevision }),
  ];
  const message = await say('Hello');
  const files = [{ path: 'a.py', name: 'a.py', content: 'a\n', type: 'file' }, { path: 'b.py', name: 'b.py', content: 'b\n', type: 'file' }];
  await db.syncVirtualFileSystemToDatabase(id, session.id, message.id, files, 'Two files');
  await eventually(() => heard.event.length === 2 && heard.change.length === 1 && heard.message.length === 1, 'all');
  assert.deepEqual(heard.message, [{ ...message, revision: 3 }]);
  const [change] = heard.change;
  assert.deepEqual([change.project_id, change.revision, change.session_id, change.message_id], [id, 4, session.id, message.id]);
  assert.deepEqual(change.changes.map(({ file_path, change_type, additions, change_description }) => [file_path, change_type, additions, change_description]), [['a.py', 'create', 1, 'Two files'], ['b.py', 'create', 1, 'Two files']]);
  assert.deepEqual(heard.event.map(({ kind, revision, message: of }) => [kind, revision, of.id]), [['message_added', 3, message.id], ['files_changed', 4, message.id]]);
  for (const end of stop) end();

  // The same by iteration, from the beginning.
  const all = await take(db.onProjectEvent(id, { afterRevision: 0 }), 4);
  assert.deepEqual(all.map(({ kind }) => kind), ['project_created', 'session_started', 'message_added', 'files_changed']);
  assert.deepEqual(await take(db.onMessage(session.id, { afterRevision: 0 }), 1), heard.message);
  assert.deepEqual(await take(db.onCodeChange(id, { afterRevision: 3 }), 1), heard.change);

  // Without a revision: what comes from now on. Who listens is listed.
  const [[{ user_id, joined_at }]] = await take(db.onPresence(id), 1);
  assert.equal(user_id, await db.getCurrentUserId());
  assert.match(joined_at, /^\d{4}-/);
});

test('without a revision, only what comes later is delivered', async () => {
  const { id, session, say } = await project();
  await say('before');
  const requests = [];
  const service = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    const response = await fetch(to, init);
    requests.push(init.headers.Accept);
    return response;
  } });
  const messages = [];
  const stop = service.onMessage(session.id, (message) => messages.push(message.content));
  await eventually(() => requests.includes('text/event-stream'), 'the stream');
  await say('after');
  await eventually(() => messages.length > 0, 'a message');
  assert.deepEqual(messages, ['after']);
  stop();
});

test('every event is delivered once and in order across 20 cuts', async () => {
  const { id, session, say } = await project();
  const { url: cuttable, cut } = await proxy(url);
  const service = new DatabaseService({ url: cuttable, token: () => process.env.TOKEN });
  const end = new AbortController();
  const { signal } = end;
  const heard = { events: [], messages: [], changes: [] };
  let interruptions = 0;
  const onInterruption = () => (interruptions += 1);
  const options = { signal, afterRevision: 2, onInterruption };
  const iterated = (async () => {
    for await (const { revision } of service.onProjectEvent(id, options)) heard.events.push(revision);
  })();
  service.onMessage(session.id, ({ content }) => heard.messages.push(content), options);
  service.onCodeChange(id, ({ revision }) => heard.changes.push(revision), options);
  const expected = { events: [], messages: [], changes: [] };
  let cuts = 0;
  for (let n = 0; cuts < 20; n += 1) {
    const revision = 3 + expected.events.length;
    if (n % 3 === 2) {
      await db.syncVirtualFileSystemToDatabase(id, session.id, '', [{ path: 'a', name: 'a', content: `${n}`, type: 'file' }]);
      expected.changes.push(revision);
    } else {
      expected.messages.push((await say(`message ${n}`)).content);
    }
    expected.events.push(revision);
    // Some cuts come while an event is on its way, others after it has arrived.
    if (n % 2) await eventually(() => heard.events.length === expected.events.length, `event ${revision}`);
    if (cut() > 0) cuts += 1;
    else await eventually(() => heard.events.length === expected.events.length, `event ${revision} after a reconnect`);
  }
  await eventually(() => Object.keys(expected).every((key) => heard[key].length >= expected[key].length), 'all events');
  end.abort();
  await iterated;
  assert.deepEqual(heard, expected);
  assert.ok(interruptions >= 20, `${interruptions} interruptions`);
});

test('a subscription ends if its token becomes that of another user', async () => {
  const { id } = await project();
  const grace = await tokenFor(600, { sub: crypto.randomUUID(), email: 'grace@example.com' });
  const between = await proxy(url);
  let token = process.env.TOKEN;
  const listener = new DatabaseService({ url: between.url, token: () => token });
  await assert.rejects(
    async () => {
      for await (const { revision } of listener.onProjectEvent(id, { afterRevision: 0 })) {
        assert.ok(revision > 0);
        token = grace;
        between.cut();
      }
    },
    { code: 'FORBIDDEN', message: 'Another user has signed in.' },
  );
});

test('a subscription ends as soon as another user signs in, or its user out', async () => {
  const { id, session, say } = await project();
  const { messageId } = await db.api.startMessage({ sessionId: session.id, role: 'ASSISTANT' });
  const own = process.env.TOKEN;
  const grace = await tokenFor(600, { sub: crypto.randomUUID(), email: 'grace@example.com' });
  const forbidden = { code: 'FORBIDDEN', message: 'Another user has signed in.' };
  const signedOut = { code: 'UNAUTHENTICATED', message: 'The user has signed out.' };
  const shared = new DatabaseService();
  let token;
  const present = () => token;
  for (const [signIn, expected] of [
    [() => connect({ token: grace }), forbidden],
    [() => connect({ token: async () => grace }), forbidden],
    [() => connect({ token: null }), signedOut],
    [() => connect({ token: '' }), signedOut],
    // The same function, which returns another token by now.
    [() => ((token = grace), connect({})), forbidden],
    [() => ((token = undefined), connect({})), signedOut],
    // Another call notices it.
    [() => ((token = grace), shared.getCurrentUser()), forbidden],
  ]) {
    token = own;
    connect({ url, token: present });
    const opened = [];
    connect({ fetch: async (to, init) => {
      const response = await fetch(to, init);
      if (init.headers.Accept === 'text/event-stream') opened.push(init.signal);
      return response;
    } });
    const all = [
      shared.onProjectEvent(id), shared.onMessage(session.id), shared.onCodeChange(id), shared.onMessageText(messageId), shared.onPresence(id),
    ];
    const problems = [];
    const heard = all.map((items) => take(items, 99));
    shared.onProjectEvent(id, () => {}, { onError: (error) => problems.push(error) });
    await eventually(() => opened.length === 6, 'six streams');
    // A new token of the same user changes nothing.
    token = await tokenFor(300);
    connect({});
    await shared.getCurrentUser();
    assert.ok(opened.every(({ aborted }) => !aborted));
    signIn();
    for (const each of heard) await assert.rejects(each, expected, `${signIn}`);
    await eventually(() => problems.length === 1, 'the callback');
    assert.deepEqual([problems[0].code, problems[0].message], [expected.code, expected.message]);
    assert.ok(opened.every(({ aborted }) => aborted));
  }
  // What has arrived already is not delivered to the next user.
  connect({ url, token: own, fetch });
  await say('one');
  const items = shared.onProjectEvent(id, { afterRevision: 0 });
  assert.equal((await items.next()).value.revision, 1);
  connect({ token: grace });
  await assert.rejects(items.next(), forbidden);
  assert.deepEqual(await items.next(), { done: true, value: undefined });
  // A service of its own is not concerned.
  const one = db.onProjectEvent(id, { afterRevision: 0 });
  connect({ token: grace });
  assert.equal((await one.next()).value.revision, 1);
  assert.equal((await one.next()).value.revision, 2);
  await one.return();
});

test('a text that is being written arrives whole across cuts', async () => {
  const { session } = await project();
  const { url: cuttable, cut } = await proxy(url);
  const service = new DatabaseService({ url: cuttable, token: process.env.TOKEN });
  const ask = async (field, input) => {
    const type = `${field[0].toUpperCase()}${field.slice(1)}Input`;
    const rest = field === 'finishMessage' ? 'message { id content }' : 'messageId length';
    return (await db.query(`mutation ($input: ${type}!) { ${field}(input: $input) { ${rest} } }`, { input }))[field];
  };
  const { messageId } = await ask('startMessage', { sessionId: session.id, role: 'ASSISTANT' });
  let text = '';
  let last;
  const heard = (async () => {
    for await (const piece of service.onMessageText(messageId)) {
      assert.equal(piece.offset, Buffer.byteLength(text));
      text += piece.text;
      last = piece;
    }
  })();
  let whole = '';
  let offset = 0;
  for (let n = 0; n < 20; n += 1) {
    const piece = `${n} \u{1f468}‍\u{1f469} `;
    offset = (await ask('appendToMessage', { messageId, offset, text: piece })).length;
    whole += piece;
    if (n % 2) await eventually(() => text === whole, `piece ${n}`);
    cut();
  }
  await ask('finishMessage', { messageId, length: offset });
  await heard;
  assert.deepEqual([text, last.state, last.message.content], [whole, 'finished', whole]);
  // Whoever comes late goes on where they were.
  const late = await take(service.onMessageText(messageId, { afterOffset: offset - 1 }), 1);
  assert.deepEqual([late[0].text, late[0].state], [' ', 'finished']);
});

test('a stream outlives its token, and a token that is refused twice ends it', async () => {
  const { id, say } = await project();
  const tokens = [];
  const service = new DatabaseService({ url, token: async () => {
    tokens.push(await tokenFor(tokens.length === 0 ? 2 : 60));
    return tokens.at(-1);
  } });
  const events = service.onProjectEvent(id, { afterRevision: 2 });
  await say('one');
  assert.equal((await events.next()).value.revision, 3);
  const second = events.next();
  await eventually(() => tokens.length > 1, 'the first token has expired');
  await say('two');
  assert.equal((await second).value.revision, 4);
  await events.return();

  for (const token of ['no.such.token', () => 'no.such.token', await tokenFor(-60)]) {
    const wrong = new DatabaseService({ url, token });
    await assert.rejects(take(wrong.onProjectEvent(id), 1), (error) => error instanceof AntiphonError && error.code === 'UNAUTHENTICATED');
  }
  // An expired token that a fresh one follows is no refusal.
  let asked = 0;
  const late = new DatabaseService({ url, token: () => (asked++ === 0 ? tokenFor(-60) : process.env.TOKEN) });
  assert.equal((await take(late.onProjectEvent(id, { afterRevision: 3 }), 1))[0].revision, 4);

  // Fresh tokens that are all refused end the subscription after a few attempts.
  asked = 0;
  const revoked = new DatabaseService({ url, token: () => `${(asked += 1)}.such.token` });
  await assert.rejects(take(revoked.onProjectEvent(id), 1), (error) => error.code === 'UNAUTHENTICATED');
  assert.ok(asked > 1 && asked < 10, `${asked} tokens`);

  // A token function that fails is like a lost connection.
  asked = 0;
  const offline = new DatabaseService({ url, token: () => {
    if ((asked += 1) < 3) throw new TypeError('fetch failed');
    return process.env.TOKEN;
  } });
  assert.equal((await take(offline.onProjectEvent(id, { afterRevision: 3 }), 1))[0].revision, 4);
  asked = 0;
  await assert.rejects(offline.getProject(id), (error) => error instanceof AntiphonError && error.code === 'NETWORK');
});

test('what cannot succeed ends with an error, a signal without one', async () => {
  const { id, session } = await project();
  const code = (error) => (assert.ok(error instanceof AntiphonError, String(error)), error.code);
  const fails = (items) => take(items, 1).then(() => 'nothing', code);
  const none = crypto.randomUUID();
  for (const options of [{}, { afterRevision: 0 }]) {
    assert.equal(await fails(db.onMessage(none, options)), 'NOT_FOUND');
    assert.equal(await fails(db.onCodeChange(none, options)), 'NOT_FOUND');
    assert.equal(await fails(db.onProjectEvent(none, options)), 'NOT_FOUND');
  }
  assert.deepEqual([await fails(db.onPresence(none)), await fails(db.onMessageText(none))], ['NOT_FOUND', 'NOT_FOUND']);
  for (const options of [{}, { afterRevision: 0, afterOffset: 0 }]) {
    for (const name of ['onMessage', 'onCodeChange', 'onProjectEvent', 'onMessageText', 'onPresence']) {
      await assert.rejects(take(db[name]('no id', options), 1), ({ code, extensions }) => {
        assert.deepEqual([code, extensions.field], ['BAD_USER_INPUT', 'id'], name);
        return true;
      });
    }
  }
  assert.equal(await fails(db.onProjectEvent(id, { afterRevision: 99 })), 'POSITION_LOST');
  const nowhere = new DatabaseService({ url: new URL('/nowhere', url).href, token: process.env.TOKEN });
  assert.equal(await fails(nowhere.onProjectEvent(id)), 'NETWORK');
  for (const bad of [NaN, -1, 1.5, Infinity, '3']) {
    for (const items of [db.onProjectEvent(id, { afterRevision: bad }), db.onMessage(session.id, { afterRevision: bad }), db.onMessageText(none, { afterOffset: bad })]) {
      assert.equal(await fails(items), 'BAD_USER_INPUT', `${bad}`);
    }
    await assert.rejects(db.downloadFile(id, 'a', bad), { code: 'BAD_USER_INPUT' });
  }
  const problems = [];
  db.onProjectEvent(none, () => assert.fail(), { onError: (error) => problems.push(code(error)) });
  db.onMessage(session.id, () => { throw new Error('mine'); }, { afterRevision: 0, onError: (error) => problems.push(error.message) });
  await db.createChatMessage({ session_id: session.id, role: 'user', content: 'x' });
  await eventually(() => problems.length === 2, 'both errors');
  assert.deepEqual(problems.sort(), ['NOT_FOUND', 'mine']);

  const end = new AbortController();
  const items = db.onProjectEvent(id, { signal: end.signal });
  const next = items.next();
  end.abort();
  assert.deepEqual(await next, { done: true, value: undefined });
  assert.deepEqual(await take(db.onProjectEvent(id, { signal: AbortSignal.abort() }), 1), []);
  // A server that is away is asked again, until the signal.
  const away = new DatabaseService({ url: 'http://127.0.0.1:1/graphql' });
  let attempts = 0;
  const stop = away.onProjectEvent(id, () => {}, { onInterruption: () => (attempts += 1) });
  await eventually(() => attempts > 2, 'three attempts');
  stop();
});

test('an event stream is read by the standard, whatever its line ends, and wherever it is cut into pieces', async () => {
  const event = (revision, name) => ({ projectEvents: { revision, kind: 'FILES_CHANGED', createdAt: name, actor: null, session: null, message: null, snapshot: null } });
  const texts = [
    // A byte order mark, comments, fields that do not matter, data of several lines, and a space that belongs to the data.
    '\ufeff: welcome\nretry: 10\nid: 1\nevent: next',
    `data: {"data":\ndata:${JSON.stringify(event(1, 'é \u{1f600} \u2028')).slice(0, -1)}\ndata\ndata: }}\n`,
    ':\n\nevent:ping\ndata: {}\n\ndata: {"data":{}}\n',
    `:keep-alive\nunknown: x\nevent: next\ndata:  {"data":${JSON.stringify(event(2, 'two'))}}\n\n`,
    'event: complete\ndata\n\nevent: next\ndata: after the end\n\n',
  ];
  for (const end of ['\n', '\r', '\r\n']) {
    const bytes = new TextEncoder().encode(texts.join('\n').replaceAll('\n', end));
    for (const size of [1, 2, 3, 5, 64, bytes.length]) {
      const body = new ReadableStream({ start(to) {
        for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.subarray(at, at + size));
        to.close();
      } });
      const from = new DatabaseService({ url, fetch: async () => new Response(body, { headers: { 'Content-Type': 'text/event-stream; charset=utf-8' } }) });
      const events = await take(from.onProjectEvent('p', { afterRevision: 0 }), 9);
      assert.deepEqual(events.map(({ revision, created_at }) => [revision, created_at]), [[1, 'é \u{1f600} \u2028'], [2, 'two']], JSON.stringify([end, size]));
    }
  }
});

test('an interruption says what has happened', async () => {
  const stream = (body) => new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  const next = 'event: next\ndata: {"errors":[{"message":"x","extensions":{"code":"NOT_FOUND"}}]}\n\n';
  const cases = [
    [() => stream(''), `The answer of ${url} ended early.`],
    [() => stream('event: next\ndata: {"dat'), `The answer of ${url} ended early.`],
    [() => stream(new ReadableStream({ pull: (to) => to.error(new TypeError('terminated')) })), `The answer of ${url} ended early.`],
    [() => new Response(new ReadableStream({ pull: (to) => to.error(new TypeError('terminated')) })), `The answer of ${url} ended early: HTTP status 200.`],
    [() => new Response('<html>', { status: 502 }), `${url} does not answer as an Antiphon server: HTTP status 502.`],
    [() => Response.json({ data: { projectEvents: {} } }), `${url} does not answer with an event stream: HTTP status 200.`],
    [() => new Response('<html>', { status: 401 }), `${url} does not answer as an Antiphon server: HTTP status 401.`],
  ];
  for (const [answer, expected] of cases) {
    let asked = 0;
    const service = new DatabaseService({ url, token: () => `${asked}`, fetch: async () => ((asked += 1) === 1 ? answer() : stream(next)) });
    const messages = [];
    await assert.rejects(take(service.onProjectEvent('p', { afterRevision: 0, onInterruption: ({ message }) => messages.push(message) }), 1), { code: 'NOT_FOUND' });
    assert.deepEqual(messages, [expected]);
  }
});

test('a `fetch` without streams is refused, and not asked again', async () => {
  for (const body of [null, undefined, { pipe: () => {}, on: () => {} }]) {
    let requests = 0;
    const service = new DatabaseService({ url, fetch: async () => {
      requests += 1;
      return { status: 200, body, headers: new Headers({ 'Content-Type': 'text/event-stream' }), text: async () => '' };
    } });
    await assert.rejects(take(service.onProjectEvent('p', { afterRevision: 0 }), 1), ({ code, extensions }) => code === 'BAD_USER_INPUT' && extensions.field === 'fetch');
    assert.equal(requests, 1);
  }
});

test('a server that is silent counts as away, at the start of a subscription and later', async (t) => {
  const stream = (text) => new Response(new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode(text)) }), { headers: { 'Content-Type': 'text/event-stream' } });
  const event = (revision) => `event: next\ndata: ${JSON.stringify({ data: { projectEvents: { revision, kind: 'FILES_CHANGED' } } })}\n\n`;
  const answers = [
    // The request for the revision, and a stream without headers, with a part of an event, and after an event.
    () => new Promise(() => {}),
    () => Response.json({ data: { project: { revision: 6 } } }),
    () => new Promise(() => {}),
    () => stream('event: next\nda'),
    () => stream(event(7)),
    () => stream(event(8)),
  ];
  const sent = [];
  const service = new DatabaseService({ url, fetch: async (_, { body, signal }) => {
    sent.push({ signal, name: /(?:query|subscription) (\w+)/.exec(body)[1], after: JSON.parse(body).variables.after });
    return answers[sent.length - 1]();
  } });
  const interruptions = [];
  const items = service.onProjectEvent('p', { onInterruption: ({ message }) => interruptions.push(message) });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const next = async () => {
    let result;
    items.next().then(({ value }) => (result = value), (error) => (result = error));
    for (let turns = 0; !result && turns < 10_000; turns += 1) {
      await new Promise(setImmediate);
      // Silence, and the waits between attempts.
      if (turns % 50 === 49) t.mock.timers.tick(65_000);
    }
    return result;
  };
  assert.equal((await next()).revision, 7);
  assert.deepEqual([interruptions.length, new Set(interruptions)], [3, new Set(['The server has been silent for too long.'])]);
  assert.equal((await next()).revision, 8);
  assert.deepEqual(sent.map(({ name, after }) => [name, after]), [['Revision', undefined], ['Revision', undefined], ...[6, 6, 6, 7].map((after) => ['OnProjectEvent', after])]);
  await items.return();
  assert.ok(sent.every(({ signal }) => signal.aborted));
});

test('the start of a subscription ends with its signal, and leaves no socket', async () => {
  const { id } = await project();
  // The server answers nothing, to one of the requests of the start or to none of them.
  for (const silent of [/query Revision/, /subscription/]) {
    const { url: gated, count } = await silentProxy(url, silent);
    for (const end of ['signal', 'return', 'stop']) {
      const service = new DatabaseService({ url: gated, token: process.env.TOKEN });
      const abort = new AbortController();
      if (end === 'stop') {
        const stop = service.onProjectEvent(id, () => assert.fail('an event'), { onError: assert.fail });
        await eventually(() => count() > 0, 'a connection');
        stop();
      } else {
        const items = service.onProjectEvent(id, { signal: abort.signal });
        const next = items.next();
        await eventually(() => count() > 0, 'a connection');
        if (end === 'signal') abort.abort();
        else void items.return();
        assert.deepEqual(await next, { done: true, value: undefined });
      }
      await eventually(() => count() === 0, `no connection after ${end}`);
    }
  }
  // A token that does not come, and a `fetch` that ignores its signal: the response that comes later is closed.
  const abort = new AbortController();
  let isAsked = false;
  const waiting = new DatabaseService({ url, token: () => new Promise(() => (isAsked = true)) });
  const none = waiting.onProjectEvent(id, { signal: abort.signal }).next();
  await eventually(() => isAsked, 'the token');
  abort.abort();
  assert.deepEqual(await none, { done: true, value: undefined });

  let proceed;
  let isClosed = false;
  const gate = new Promise((resolve) => (proceed = resolve));
  const deaf = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, { signal: _, ...init }) => {
    await gate;
    const response = await fetch(to, init);
    const body = response.body.pipeThrough(new TransformStream());
    const { cancel } = body;
    body.cancel = (reason) => {
      isClosed = true;
      return cancel.call(body, reason);
    };
    return new Proxy(response, { get: (of, name) => (name === 'body' ? body : Reflect.get(of, name, of)) });
  } });
  const items = deaf.onProjectEvent(id, { afterRevision: 0 });
  const next = items.next();
  await new Promise(setImmediate);
  void items.return();
  assert.deepEqual(await next, { done: true, value: undefined });
  proceed();
  await eventually(() => isClosed, 'the late response is closed');
});

test('what `db` needs at once is small, and the rest is loaded later', async (t) => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: "import { db } from 'antiphon-db';\nglobalThis.db = db;", resolveDir: folder },
    bundle: true, splitting: true, minify: true, format: 'esm', target: 'es2022', outdir: 'out', entryNames: 'entry', write: false, metafile: true, logLevel: 'silent',
  });
  // All files that the entry imports, by imports that are not dynamic.
  const paths = Object.keys(metafile.outputs);
  const first = new Set(paths.filter((path) => path.endsWith('entry.js')));
  for (const path of first) for (const each of metafile.outputs[path].imports) if (each.kind !== 'dynamic-import') first.add(each.path);
  const bytes = (of) => of.map((path) => outputFiles.find((file) => file.path.endsWith(path.replace(/^.*\//, '/')))).reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
  const needed = bytes([...first]);
  t.diagnostic(`${needed} bytes gzipped at once, ${bytes(paths) - needed} later`);
  assert.ok(needed < 8_192, `${needed} bytes`);
  const text = [...first].map((path) => outputFiles.find((file) => file.path.endsWith(path.replace(/^.*\//, '/'))).text).join('');
  for (const name of Object.getOwnPropertyNames(DatabaseService.prototype)) assert.ok(text.includes(name), name);
});
