// The db package's hooks, in React's strict mode, against a running server.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';

import { Window } from 'happy-dom';

import { install, proxy, tokenFor } from './package.mjs';
import { eventually, url } from './server.mjs';

const window = new Window({ url: 'http://localhost/' });
// Newer versions of Node have a navigator that cannot be assigned.
for (const name of ['window', 'document', 'navigator', 'HTMLElement', 'Node', 'MutationObserver']) {
  Object.defineProperty(globalThis, name, { value: name === 'window' ? window : window[name], configurable: true });
}
after(() => window.happyDOM.close());
const { act, cleanup, render, renderHook, waitFor } = await import('@testing-library/react');
const { Activity, createElement, StrictMode } = await import('react');
const { renderToString } = await import('react-dom/server');
const app = await install();
const { entry } = app;
const { connect, DatabaseService, db: shared } = await entry('index');
const hooks = await entry('react');
afterEach(cleanup);

/** A service that counts its requests. */
function service(token = process.env.TOKEN) {
  const requests = [];
  const counted = new DatabaseService({ url, token, fetch: (to, init) => {
    requests.push(init.headers.Accept === 'text/event-stream' ? 'stream' : /(?:query|mutation) (\w+)/.exec(JSON.parse(init.body).query)[1]);
    return fetch(to, init);
  } });
  return Object.assign(counted, { requests });
}

const db = service();

async function project() {
  const { id } = await db.createProject({ name: 'Hooks', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const say = (content) => db.createChatMessage({ session_id: session.id, role: 'user', content });
  const write = (files) => db.syncVirtualFileSystemToDatabase(id, session.id, '', Object.entries(files).map(([path, content]) => ({ path, name: path.split('/').at(-1), content, type: 'file' })));
  return { id, session, say, write };
}

/** Renders a hook under a service of its own. */
function show(hook, of = service()) {
  const wrapper = ({ children }) => createElement(StrictMode, null, createElement(hooks.DatabaseProvider, { service: of }, children));
  return { ...renderHook(hook, { wrapper }), requests: of.requests };
}

const becomes = (result, test) => waitFor(() => assert.ok(test(result.current.data), JSON.stringify(result.current)), { timeout: 10_000, interval: 20 });

test('useProject is live, and what is not there is an error', async () => {
  const { id } = await project();
  const { result } = show(() => hooks.useProject(id));
  assert.deepEqual(result.current, { data: undefined, error: undefined, isLoading: true });
  await becomes(result, (data) => data?.name === 'Hooks');
  await db.updateProject(id, { name: 'Renamed' });
  await becomes(result, (data) => data?.name === 'Renamed');
  assert.equal(result.current.isLoading, false);
  const idle = show(() => hooks.useProject(null));
  assert.deepEqual(idle.result.current, { data: undefined, error: undefined, isLoading: false });
  const none = crypto.randomUUID();
  for (const hook of [hooks.useProject, hooks.useMessages, hooks.useFiles, (id) => hooks.useFile(id, 'a'), hooks.useHistory, hooks.useStreamingMessage, hooks.usePresence]) {
    const { result } = show(() => hook(none));
    await waitFor(() => assert.equal(result.current.error?.code, 'NOT_FOUND', `${hook}`));
    assert.equal(result.current.data, undefined);
  }
});

test('useMessages has each message once, those before and those after, and follows a restored conversation', async () => {
  const { id, session, say } = await project();
  await say('one');
  const revision = await db.getRevision(id);
  const { result } = show(() => hooks.useMessages(session.id));
  const contents = () => result.current.data?.map(({ content }) => content);
  // Some are added while it loads.
  const during = Promise.all(['two', 'three'].map(say));
  await during;
  await becomes(result, (data) => data?.length === 3);
  for (let n = 0; n < 20; n += 1) await say(`${n}`);
  await becomes(result, (data) => data?.length === 23);
  assert.deepEqual(contents().slice(3), Array.from({ length: 20 }, (_, n) => `${n}`));
  assert.equal(new Set(result.current.data.map((message) => message.id)).size, 23);
  await db.api.restoreRevision({ projectId: id, revision, scope: 'CONVERSATION', sessionId: session.id });
  await becomes(result, (data) => data?.length === 1);
  assert.deepEqual(contents(), ['one']);
});

test('useFiles, useFile and useHistory follow every write', async () => {
  const { id, write } = await project();
  await write({ 'src/a.py': 'a\n' });
  const { result } = show(() => ({ data: { files: hooks.useFiles(id).data, file: hooks.useFile(id, 'src/a.py').data, history: hooks.useHistory(id).data } }));
  await becomes(result, ({ files, file, history }) => files?.length === 1 && file?.content === 'a\n' && history?.length === 1);
  await write({ 'src/a.py': 'b\nc\n', 'b.py': 'x' });
  await becomes(result, ({ files, file, history }) => files.length === 2 && file.content === 'b\nc\n' && history.length === 3);
  const { files, history } = result.current.data;
  assert.deepEqual(files.map(({ file_path, file_type, version }) => [file_path, file_type, version]), [['b.py', 'file', 1], ['src/a.py', 'file', 2]]);
  assert.deepEqual(new Set(history.slice(0, 2).map(({ change_type, file_path }) => `${change_type} ${file_path}`)), new Set(['update src/a.py', 'create b.py']));
  assert.deepEqual([history.at(-1).change_type, history.at(-1).additions, history.at(-1).user_id], ['create', 1, await db.getCurrentUserId()]);
  await db.deleteProjectFile(id, 'src/a.py');
  await becomes(result, (data) => data.file === null && data.files.length === 1);
});

test('useHistory has as many changes as it is asked for', async () => {
  const { id, write } = await project();
  await write(Object.fromEntries(Array.from({ length: 230 }, (_, n) => [`${n}`, ''])));
  for (const [limit, count] of [[undefined, 50], [1, 1], [100, 100], [101, 101], [1_000, 230], [0, 0]]) {
    const { result, unmount } = show(() => hooks.useHistory(id, { limit }));
    await becomes(result, (data) => data);
    assert.equal(new Set(result.current.data.map((change) => change.id)).size, count);
    unmount();
  }
  for (const limit of [NaN, -1, 1.5, Infinity, null]) {
    const { result } = show(() => hooks.useHistory(id, { limit }));
    await waitFor(() => assert.equal(result.current.error?.extensions.field, 'limit'));
  }
});

test('useStreamingMessage shows the text as it comes, and the message at its end', async () => {
  const { session } = await project();
  let proceed;
  const gate = new Promise((resolve) => (proceed = resolve));
  let shown;
  const message = db.writeMessage({ session_id: session.id, role: 'assistant' }, (async function* () {
    yield 'Hello';
    await gate;
    yield ' there';
  })(), (id) => (shown = show(() => hooks.useStreamingMessage(id))));
  await eventually(() => shown, 'the start');
  await becomes(shown.result, (data) => data?.text === 'Hello');
  assert.deepEqual(shown.result.current.data, { text: 'Hello', state: 'streaming', message: null });
  proceed();
  await becomes(shown.result, (data) => data?.state === 'finished');
  assert.deepEqual(shown.result.current.data, { text: 'Hello there', state: 'finished', message: await message });
});

test('usePresence shows who is there, and who has left', async () => {
  const { id } = await project();
  const { result } = show(() => hooks.usePresence(id));
  await becomes(result, (data) => data?.length === 1);
  assert.equal(result.current.data[0].user_id, await db.getCurrentUserId());
});

test('components share requests and one stream a project, and end them when they leave', async () => {
  const { id, session, say } = await project();
  const of = service();
  let opened = 0;
  let closed = 0;
  const { onProjectEvent } = of;
  of.onProjectEvent = (projectId, options) => {
    opened += 1;
    options.signal.addEventListener('abort', () => (closed += 1));
    return onProjectEvent.call(of, projectId, options);
  };
  const List = () => createElement('ul', null, hooks.useMessages(session.id).data?.map(({ id: key, content }) => createElement('li', { key }, content)));
  const Title = () => createElement('h1', null, hooks.useProject(id).data?.name);
  const page = (count) => createElement(StrictMode, null, createElement(hooks.DatabaseProvider, { service: of }, Array.from({ length: count }, (_, key) => [createElement(List, { key: `l${key}` }), createElement(Title, { key: `t${key}` })])));
  const { container, rerender, unmount } = render(page(5));
  await waitFor(() => assert.equal(container.querySelector('h1')?.textContent, 'Hooks'));
  await say('Hello');
  await waitFor(() => assert.equal(container.querySelectorAll('li').length, 5));
  await act(async () => rerender(page(2)));
  const count = (name) => of.requests.filter((request) => request === name).length;
  assert.deepEqual([opened, count('stream'), count('Project'), count('Session'), count('Revision')], [1, 1, 1, 1, 1], of.requests.join());
  assert.ok(count('Messages') <= 2, of.requests.join());
  unmount();
  await eventually(() => closed === 1, 'the stream has ended');
});

test('an error keeps what was known, and a server renders the waiting state', async () => {
  const { id } = await project();
  let isAway = false;
  const of = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    if (isAway && init.headers.Accept !== 'text/event-stream') throw new TypeError('away');
    return fetch(to, init);
  } });
  const { result } = show(() => hooks.useProject(id), of);
  await becomes(result, (data) => data?.name === 'Hooks');
  isAway = true;
  await db.updateProject(id, { name: 'Unseen' });
  await waitFor(() => assert.equal(result.current.error?.code, 'NETWORK'), { timeout: 5_000 });
  assert.equal(result.current.data.name, 'Hooks');
  isAway = false;
  await becomes(result, (data) => data?.name === 'Unseen');
  assert.equal(result.current.error, undefined);
  const Page = () => createElement('p', null, hooks.useProject(id).isLoading ? 'waiting' : 'there');
  assert.equal(renderToString(createElement(Page)), '<p>waiting</p>');
});

/** Renders a hook without a provider, and records all that it shows. */
function record(hook) {
  const shown = [];
  const wrapper = ({ children }) => createElement(StrictMode, null, children);
  const rendered = renderHook(() => {
    const live = hook();
    shown.push(live);
    return live;
  }, { wrapper });
  return { ...rendered, shown };
}

/** Another user, who is a viewer of the project. */
async function invited(projectId) {
  const claims = { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` };
  const token = await tokenFor(600, claims);
  const hers = new DatabaseService({ url, token });
  await db.api.inviteCollaborator({ projectId, userId: await hers.getCurrentUserId(), role: 'VIEWER' });
  await hers.api.acceptInvitation({ projectId });
  return { token, claims };
}

async function everyHook(id, session) {
  const { messageId } = await db.api.startMessage({ sessionId: session.id, role: 'ASSISTANT' });
  await db.api.appendToMessage({ messageId, offset: 0, text: 'secret' });
  return [
    () => hooks.useStreamingMessage(messageId), () => hooks.useProject(id), () => hooks.useMessages(session.id), () => hooks.useFiles(id), () => hooks.useFile(id, 'a'), () => hooks.useHistory(id), () => hooks.usePresence(id),
  ];
}

test('another user who signs in sees nothing of the one before, in any hook', async () => {
  const { id, session, say, write } = await project();
  await say('secret');
  await write({ a: 'secret' });
  const stranger = await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` });
  for (const hook of await everyHook(id, session)) {
    connect({ url, token: process.env.TOKEN });
    const { result, shown, unmount } = record(hook);
    await waitFor(() => assert.ok(result.current.data), { timeout: 10_000 });
    const before = shown.length;
    act(() => connect({ token: stranger }));
    // At once, before any answer.
    assert.equal(result.current.data, undefined);
    await waitFor(() => assert.equal(result.current.error?.code, 'NOT_FOUND', JSON.stringify(result.current)), { timeout: 10_000 });
    assert.deepEqual(shown.slice(before).filter(({ data }) => data !== undefined), []);
    // And back.
    act(() => connect({ token: process.env.TOKEN }));
    await waitFor(() => assert.ok(result.current.data), { timeout: 10_000 });
    unmount();
  }
  // A token function that is replaced: nothing is shown before it has returned.
  const { result, shown } = record(() => hooks.useFile(id, 'a'));
  await waitFor(() => assert.equal(result.current.data?.content, 'secret'));
  const before = shown.length;
  act(() => connect({ token: async () => stranger }));
  assert.equal(result.current.data, undefined);
  await waitFor(() => assert.equal(result.current.error?.code, 'NOT_FOUND'));
  act(() => connect({ token: null }));
  await waitFor(() => assert.equal(result.current.error?.code, 'UNAUTHENTICATED'));
  assert.deepEqual(shown.slice(before).filter(({ data }) => data !== undefined), []);
});

test('the next page does not show the data of the page before to another user', async () => {
  const { id } = await project();
  let token = process.env.TOKEN;
  const of = new DatabaseService({ url, token: async () => token });
  let shown = [];
  const Title = () => {
    const live = hooks.useProject(id);
    shown.push(live.data?.name);
    return createElement('h1', null, live.data?.name);
  };
  const page = (key) => createElement(StrictMode, null, createElement(hooks.DatabaseProvider, { service: of }, createElement(Title, { key })));
  const { container, rerender } = render(page(1));
  await waitFor(() => assert.equal(container.textContent, 'Hooks'));
  // Both pages in one commit: the next page of the same user has the data …
  await act(async () => rerender(page(2)));
  assert.equal(container.textContent, 'Hooks');
  // … and another user's has none.
  token = await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` });
  shown = [];
  await act(async () => rerender(page(3)));
  assert.deepEqual(new Set(shown), new Set([undefined]));
});

test('an answer that comes after another user has signed in is not shown', async () => {
  const { id, write } = await project();
  await write({ a: 'secret' });
  const { token } = await invited(id);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  let isHeld = false;
  connect({ url, token: process.env.TOKEN, fetch: async (to, init) => {
    const response = await fetch(to, init);
    if (init.headers.Authorization !== `Bearer ${token}` && /query file\b/.test(init.body)) {
      isHeld = true;
      await held;
    }
    return response;
  } });
  const { result, shown } = record(() => hooks.useFile(id, 'a'));
  await eventually(() => isHeld, 'the first answer');
  act(() => connect({ token }));
  await waitFor(() => assert.equal(result.current.data?.content, 'secret'));
  await write({ a: 'new' });
  await waitFor(() => assert.equal(result.current.data?.content, 'new'));
  const { length } = shown;
  await act(async () => release());
  await write({ a: 'newer' });
  await waitFor(() => assert.equal(result.current.data?.content, 'newer'));
  assert.deepEqual(shown.slice(length).filter(({ data }) => data?.content === 'secret'), []);
  connect({ fetch });
});

test('a token function that returns the token of another user has the same effect', async () => {
  const { id, session, say, write } = await project();
  await write({ a: 'secret' });
  const stranger = await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` });
  let token = process.env.TOKEN;
  connect({ url, token: async () => token });
  const messages = record(() => hooks.useMessages(session.id));
  const file = record(() => hooks.useFile(id, 'a'));
  await waitFor(() => assert.deepEqual([messages.result.current.data, file.result.current.data?.content], [[], 'secret']), { timeout: 10_000 });
  token = stranger;
  // An event still comes by the stream of the one before.
  await say('secret');
  for (const { result } of [messages, file]) {
    await waitFor(() => assert.equal(result.current.error?.code, 'NOT_FOUND'), { timeout: 10_000 });
    assert.equal(result.current.data, undefined);
  }
  assert.ok(!messages.shown.some(({ data }) => data?.length > 0));
  // What is kept for a short time after it was left is shown to its own user only.
  token = process.env.TOKEN;
  connect({});
  await waitFor(() => assert.equal(file.result.current.data?.content, 'secret'), { timeout: 10_000 });
  messages.unmount();
  file.unmount();
  connect({ token: stranger });
  await write({ a: 'secret of another' });
  connect({ token: async () => token });
  const back = record(() => hooks.useFile(id, 'a'));
  await waitFor(() => assert.equal(back.result.current.data?.content, 'secret of another'), { timeout: 10_000 });
  assert.deepEqual(back.shown.filter(({ error }) => error), []);
  back.unmount();
  token = stranger;
  const again = record(() => hooks.useFile(id, 'a'));
  await waitFor(() => assert.equal(again.result.current.error?.code, 'NOT_FOUND'), { timeout: 10_000 });
  assert.deepEqual(again.shown.filter(({ data }) => data !== undefined), []);
});

test('a refused token is recovered from once there is another, and a refreshed one changes nothing', async () => {
  const { id, session, write } = await project();
  await write({ a: 'one' });
  for (const hook of await everyHook(id, session)) {
    // The session has expired, and the application signs in again by `connect` …
    connect({ url, token: await tokenFor(-60) });
    const { result, unmount } = record(hook);
    await waitFor(() => assert.equal(result.current.error?.code, 'UNAUTHENTICATED'), { timeout: 10_000 });
    assert.equal(result.current.isLoading, false);
    act(() => connect({ token: process.env.TOKEN }));
    await waitFor(() => assert.ok(result.current.data && !result.current.error), { timeout: 10_000 });
    unmount();
  }
  // … or its token function returns another one, without a storm of requests meanwhile.
  let token = await tokenFor(-60);
  let refusals = 0;
  let asked = 0;
  connect({ url, token: () => ((asked += 1), token), fetch: async (to, init) => {
    const response = await fetch(to, init);
    if (response.status === 401) refusals += 1;
    return response;
  } });
  await write({ b: 'one' });
  const others = Array.from({ length: 20 }, (_, n) => record(() => hooks.useFile(id, `other ${n}`)));
  const { result, shown } = record(() => hooks.useFile(id, 'b'));
  await waitFor(() => assert.equal(result.current.error?.code, 'UNAUTHENTICATED'), { timeout: 10_000 });
  // All that wait for a token ask for it together.
  const before = asked;
  await waitFor(() => assert.ok(asked >= before + 2), { timeout: 10_000, interval: 20 });
  assert.ok(asked <= before + 3, `${asked - before} times`);
  for (const { unmount } of others) unmount();
  token = process.env.TOKEN;
  await waitFor(() => assert.ok(result.current.data && !result.current.error), { timeout: 10_000 });
  assert.ok(refusals <= 2 * 22, `${refusals} refusals`);
  // A refreshed token of the same user neither hides nor loads anything.
  const { length } = shown;
  act(() => connect({ token: process.env.TOKEN }));
  const refreshed = await tokenFor(300);
  await act(async () => connect({ token: refreshed }));
  // A function of each render, as in an effect of a provider.
  await act(async () => connect({ token: () => refreshed }));
  await act(async () => connect({ token: () => process.env.TOKEN }));
  assert.ok(shown.slice(length).every(({ data }) => data));
  await write({ b: 'two' });
  await waitFor(() => assert.equal(result.current.data.content, 'two'), { timeout: 10_000 });
  assert.ok(shown.slice(length).every(({ data }) => data));
  assert.equal(await shared.getCurrentUserId(), await db.getCurrentUserId());
  connect({ fetch });
});

test('a stream whose token is refused goes on with the next one', async () => {
  const { session, say } = await project();
  const { url: cuttable, cut } = await proxy(url);
  let token = process.env.TOKEN;
  const of = new DatabaseService({ url: cuttable, token: () => token });
  const { result } = show(() => hooks.useMessages(session.id), of);
  await becomes(result, (data) => data?.length === 0);
  token = await tokenFor(-60);
  cut();
  await waitFor(() => assert.equal(result.current.error?.code, 'UNAUTHENTICATED'), { timeout: 10_000 });
  await say('meanwhile');
  token = process.env.TOKEN;
  await becomes(result, (data) => data?.length === 1);
  assert.equal(result.current.error, undefined);
  await say('after');
  await becomes(result, (data) => data?.length === 2);
});

test('components of two services have the data of their own users', async () => {
  const { id } = await project();
  const { token } = await invited(id);
  const hers = service(token);
  const stranger = service(await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` }));
  const own = service();
  const Title = ({ name }) => {
    const { data, error } = hooks.useProject(id);
    const people = hooks.usePresence(id).data;
    return createElement('p', { id: name }, error ? error.code : `${data?.name} ${people?.length}`);
  };
  const under = (of, name, child) => createElement(hooks.DatabaseProvider, { service: of, key: name }, createElement(Title, { name }), child);
  // Side by side, and one within the other.
  const { container } = render(createElement(StrictMode, null, under(own, 'own', under(hers, 'hers')), under(stranger, 'stranger')));
  const texts = () => Object.fromEntries([...container.querySelectorAll('p')].map((each) => [each.id, each.textContent]));
  await waitFor(() => assert.deepEqual(texts(), { own: 'Hooks 2', hers: 'Hooks 2', stranger: 'NOT_FOUND' }), { timeout: 10_000 });
  await act(async () => void (await db.updateProject(id, { name: 'Both' })));
  await waitFor(() => assert.deepEqual(texts(), { own: 'Both 2', hers: 'Both 2', stranger: 'NOT_FOUND' }), { timeout: 10_000 });
  for (const of of [own, hers]) assert.equal(of.requests.filter((each) => each === 'stream').length, 2);
});

test('a service that changes shows the data of its own user only', async () => {
  const { id } = await project();
  const own = service();
  let token = process.env.TOKEN;
  const other = new DatabaseService({ url, token: async () => token });
  const shown = [];
  const Title = () => {
    const { data, error } = hooks.useProject(id);
    shown.push(data?.name);
    return createElement('p', null, error?.code ?? data?.name);
  };
  const page = (of) => createElement(StrictMode, null, createElement(hooks.DatabaseProvider, { service: of }, createElement(Title)));
  const { container, rerender } = render(page(other));
  const becomesText = (text) => waitFor(() => assert.equal(container.textContent, text), { timeout: 10_000 });
  await becomesText('Hooks');
  rerender(page(own));
  await becomesText('Hooks');
  // Meanwhile another user has signed in with the service of before, and its data is still kept.
  token = await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` });
  shown.length = 0;
  rerender(page(other));
  await becomesText('NOT_FOUND');
  assert.deepEqual(new Set(shown), new Set([undefined]));
  rerender(page(own));
  await becomesText('Hooks');
});

test('what was hidden is shown again to its own user only', { skip: !Activity && 'since React 19.2' }, async () => {
  const { id } = await project();
  let token = process.env.TOKEN;
  const of = new DatabaseService({ url, token: async () => token });
  let shown = [];
  const Title = () => {
    const { data, error } = hooks.useProject(id);
    shown.push(data?.name);
    return createElement('p', null, error?.code ?? data?.name);
  };
  const page = (mode) => createElement(hooks.DatabaseProvider, { service: of }, createElement(Activity, { mode }, createElement(Title)));
  const { container, rerender } = render(page('visible'));
  await waitFor(() => assert.equal(container.textContent, 'Hooks'), { timeout: 10_000 });
  await act(async () => rerender(page('hidden')));
  token = await tokenFor(600, { sub: crypto.randomUUID(), email: `${crypto.randomUUID()}@example.com` });
  shown = [];
  await act(async () => rerender(page('visible')));
  await waitFor(() => assert.equal(container.textContent, 'NOT_FOUND'), { timeout: 10_000 });
  assert.deepEqual(new Set(shown), new Set([undefined]));
});

test('an id that changes shows the data of that id only', async () => {
  const of = service();
  const projects = [];
  for (let n = 0; n < 3; n += 1) {
    const { id, session, say, write } = await project();
    await say(id);
    await write({ [`${id}.py`]: id });
    projects.push({ id, sessionId: session.id });
  }
  const shown = [];
  const hook = ({ id, sessionId }) => {
    const [project, messages, files] = [hooks.useProject(id), hooks.useMessages(sessionId), hooks.useFiles(id)];
    shown.push([id, project.data?.id, messages.data?.[0]?.content, files.data?.[0]?.file_path.slice(0, -3)]);
    return [project.data, messages.data, files.data].every(Boolean);
  };
  const wrapper = ({ children }) => createElement(StrictMode, null, createElement(hooks.DatabaseProvider, { service: of }, children));
  const { result, rerender } = renderHook(hook, { wrapper, initialProps: projects[0] });
  // At once, before anything has come, and again once it has.
  for (const props of [projects[1], { id: null, sessionId: null }, projects[2]]) rerender(props);
  await waitFor(() => assert.ok(result.current), { timeout: 10_000 });
  for (const props of [projects[0], projects[1], { id: undefined }, projects[0], projects[2]]) {
    rerender(props);
    if (props.id) await waitFor(() => assert.ok(result.current), { timeout: 10_000 });
  }
  for (const [id, ...ids] of shown) for (const each of ids) assert.ok(each === undefined || each === id, `${id} ${ids}`);
});

test('what is left while it loads asks for nothing more, and leaves no stream', async (t) => {
  const { id, session } = await project();
  const errors = t.mock.method(console, 'error', () => {});
  let proceed;
  const gate = new Promise((resolve) => (proceed = resolve));
  // One of the requests of each page waits.
  const pages = await Promise.all(['Project', 'Session', 'Revision', 'Messages', 'stream'].map(async (stage) => {
    const page = { stage, requests: [], open: 0, isHeld: false };
    const of = new DatabaseService({ url, token: process.env.TOKEN, fetch: async (to, init) => {
      const isStream = init.headers.Accept === 'text/event-stream';
      const name = isStream ? 'stream' : /(?:query|mutation) (\w+)/.exec(JSON.parse(init.body).query)[1];
      page.requests.push(name);
      if (isStream) {
        page.open += 1;
        init.signal.addEventListener('abort', () => (page.open -= 1));
      }
      if (name === stage) {
        page.isHeld = true;
        await gate;
      }
      return fetch(to, init);
    } });
    const { unmount } = show(() => [hooks.useProject(id), hooks.useMessages(session.id)], of);
    await eventually(() => page.isHeld, stage);
    unmount();
    return page;
  }));
  // What is left is kept for a second, and its project's stream for another one.
  await eventually(() => pages.every(({ open }) => open === 0), 'no stream');
  const before = pages.map(({ requests }) => requests.join());
  proceed();
  // Later than anything that follows the answers: a call that needs several of its own.
  for (let n = 0; n < 20; n += 1) await db.getProject(id);
  assert.deepEqual(pages.map(({ requests }) => requests.join()), before);
  assert.deepEqual(pages.filter(({ open }) => open > 0), []);
  assert.deepEqual(errors.mock.calls.map((call) => call.arguments), []);
});

test('a server without a window renders the waiting state, asks for nothing and exits', async () => {
  const names = ['useProject', 'useMessages', 'useFiles', 'useHistory', 'useStreamingMessage', 'usePresence'];
  await writeFile(join(app.folder, 'render.mjs'), `
    import assert from 'node:assert/strict';
    import { createElement } from 'react';
    import { renderToString, renderToPipeableStream } from 'react-dom/server';
    import { DatabaseService } from 'antiphon-db';
    import * as hooks from 'antiphon-db/react';
    assert.equal(typeof window, 'undefined');
    const service = new DatabaseService({ url: '${url}', token: 'x', fetch: () => assert.fail('a request') });
    const Page = () => {
      const shown = [${names.map((name) => `hooks.${name}('${crypto.randomUUID()}')`)}, hooks.useFile('${crypto.randomUUID()}', 'a')];
      return shown.map(({ data, error, isLoading }) => [data, error, isLoading].join()).join(' ');
    };
    const page = createElement(hooks.DatabaseProvider, { service }, createElement(Page));
    assert.equal(renderToString(page), Array(7).fill(',,true').join(' '));
    assert.equal(renderToString(createElement(Page)), Array(7).fill(',,true').join(' '));
  `);
  await app.node(join(app.folder, 'render.mjs'));
});

test('hooks have each message and the last state of files after 20 cuts', async () => {
  const { id, session, say, write } = await project();
  const { url: cuttable, cut } = await proxy(url);
  const of = new DatabaseService({ url: cuttable, token: process.env.TOKEN });
  const { result } = show(() => ({ data: { messages: hooks.useMessages(session.id).data, file: hooks.useFile(id, 'a').data, people: hooks.usePresence(id).data } }), of);
  await becomes(result, ({ messages, people }) => messages && people);
  const expected = [];
  for (let n = 0; n < 20; n += 1) {
    cut();
    expected.push((await say(`${n}`)).id);
    await write({ a: `${n}` });
    // Some cuts come while the hooks are still catching up.
    if (n % 3 === 0) await becomes(result, ({ messages }) => messages?.length === n + 1);
  }
  await becomes(result, ({ messages, file, people }) => messages?.length === 20 && file?.content === '19' && people?.length === 1);
  assert.deepEqual(result.current.data.messages.map((message) => message.id), expected);
});
