// Drives GraphiQL on a running server in Chromium as a user would: reads the viewer, creates a project, subscribes in
// one window and writes in another, and streams a message to a third. Fails on any console error, failed request, or
// request to another host.
//
//   BASE_URL    the server, for example http://127.0.0.1:8080
//   TOKEN       a bearer token that it accepts
//   SCREENSHOT  the file for a screenshot with a live event (optional)
//   CHROMIUM    the browser (default /usr/bin/chromium)
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request as ask } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const { BASE_URL, TOKEN, SCREENSHOT, CHROMIUM = '/usr/bin/chromium' } = process.env;
assert.ok(BASE_URL && TOKEN, 'set BASE_URL and TOKEN');
const origin = new URL(BASE_URL).origin;

// A proxy that has the server below a path, which it removes, and redirects nothing.
const proxy = createServer((from, to) => {
  if (!/^\/api(\/|$)/.test(from.url)) return to.writeHead(404).end();
  const path = from.url.slice('/api'.length) || '/';
  const { host } = new URL(BASE_URL);
  from.pipe(
    ask(`${origin}${path}`, { method: from.method, headers: { ...from.headers, host } }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
    }),
  );
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const below = `http://127.0.0.1:${proxy.address().port}`;

const profile = await mkdtemp(join(tmpdir(), 'antiphon-graphiql-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM,
  headless: true,
  viewport: { width: 1400, height: 900 },
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
browser.setDefaultTimeout(20_000);

const problems = [];
browser.on('console', (message) => {
  if (message.type() === 'error') problems.push(`console: ${message.text()}`);
});
browser.on('weberror', (error) => problems.push(`page: ${error.error().message}`));
browser.on('requestfailed', (request) => problems.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
browser.on('request', (request) => {
  const url = new URL(request.url());
  if (url.protocol !== 'data:' && ![origin, below].includes(url.origin)) problems.push(`another host: ${url}`);
});

/** Waits until the displayed response satisfies `test`, and returns it. */
async function answer(page, test) {
  const deadline = Date.now() + 20_000;
  let text = '';
  while (Date.now() < deadline) {
    text = await page.evaluate(() => document.querySelector('.result-window .CodeMirror')?.CodeMirror.getValue() ?? '');
    try {
      const value = JSON.parse(text);
      if (test(value)) return value;
    } catch {
      // Empty, or not complete yet.
    }
    await page.waitForTimeout(50);
  }
  throw new Error(`timeout while waiting for a response; displayed: ${text}`);
}

/** The tab with this title, which is the name of its first operation. */
const tab = (page, title) => page.locator('.graphiql-tab-button').getByText(title, { exact: true });

/** Opens a tab by its title. */
async function openTab(page, title) {
  await tab(page, title).click();
  await page.waitForFunction(
    (name) => document.querySelector('.graphiql-query-editor .CodeMirror')?.CodeMirror.getValue().includes(` ${name}`),
    title,
  );
}

/** Runs the operation with this name in the open tab. */
async function run(page, operation) {
  // GraphiQL parses the document a moment after it is shown; until then it would run the previous tab.
  const found = await page.waitForFunction((name) => {
    const editor = document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror;
    const operation = editor.operations?.find((candidate) => candidate.name?.value === name);
    if (!operation || editor.operationName === undefined) return null;
    editor.focus();
    editor.setCursor(editor.posFromIndex(operation.loc.start + 1));
    return true;
  }, operation);
  await found.dispose();
  await page.keyboard.press('Control+Enter');
}

try {
  // Given a user who opens the sign-in link.
  const listener = await browser.newPage();
  await listener.goto(`${origin}/#token=${TOKEN}`);
  await tab(listener, 'WhoAmI').waitFor();
  assert.equal(await listener.evaluate(() => location.hash), '', 'the token is removed from the address bar');
  const docs = listener.getByRole('button', { name: /Documentation Explorer/ });
  await docs.click();
  await listener.getByText('Subscription', { exact: true }).first().waitFor();
  await docs.click();

  // When they run the first two tabs, then the responses are for them.
  await run(listener, 'WhoAmI');
  await answer(listener, ({ data }) => data?.viewer?.id);
  await openTab(listener, 'CreateProject');
  await run(listener, 'CreateProject');
  const created = await answer(listener, ({ data }) => data?.createProject?.project?.id);
  assert.equal(created.data.createProject.revision, 1);

  // When one window subscribes and a second one, opened from it, writes, then the first shows each event.
  await openTab(listener, 'Listen');
  await run(listener, 'Listen');
  await answer(listener, ({ data }) => data?.projectEvents?.kind === 'PROJECT_CREATED');

  const [writer] = await Promise.all([
    browser.waitForEvent('page'),
    listener.getByRole('button', { name: 'Open a second window' }).click(),
  ]);
  await openTab(writer, 'StartSession');
  await run(writer, 'StartSession');
  await answer(writer, ({ data }) => data?.startSession?.session?.id);
  const started = await answer(listener, ({ data }) => data?.projectEvents?.kind === 'SESSION_STARTED');
  assert.equal(started.data.projectEvents.revision, 2);
  await run(writer, 'AddUserMessage');
  await answer(writer, ({ data }) => data?.addMessage?.message?.id);
  const heard = await answer(listener, ({ data }) => data?.projectEvents?.kind === 'MESSAGE_ADDED');
  assert.equal(heard.data.projectEvents.revision, 3);

  // When a message is streamed in that window, then a third one, opened from it, receives each chunk, and presence is
  // shown.
  await openTab(writer, 'StartMessage');
  await run(writer, 'StartMessage');
  await answer(writer, ({ data }) => data?.startMessage?.messageId);
  const [reader] = await Promise.all([
    browser.waitForEvent('page'),
    writer.getByRole('button', { name: 'Open a second window' }).click(),
  ]);
  await openTab(reader, 'StartMessage');
  await run(reader, 'MessageStream');
  await answer(reader, ({ data }) => data?.messageStream?.state === 'STREAMING');
  await run(writer, 'AppendToMessage');
  await answer(reader, ({ data }) => data?.messageStream?.text === 'The agent says ');
  await run(writer, 'AppendMore');
  await answer(reader, ({ data }) => data?.messageStream?.text === 'hello now.');
  await run(writer, 'Presence');
  await answer(writer, ({ data }) => data?.project?.presence?.length === 1);
  await run(writer, 'FinishMessage');
  const finished = await answer(reader, ({ data }) => data?.messageStream?.state === 'FINISHED');
  assert.deepEqual(finished.data.messageStream.message, { content: 'The agent says hello now.', revision: 4 });
  await answer(listener, ({ data }) => data?.projectEvents?.revision === 4);
  await listener.bringToFront();
  if (SCREENSHOT) await listener.screenshot({ path: SCREENSHOT });

  // Then a reload keeps the headers and the tabs.
  await listener.waitForTimeout(1_000); // GraphiQL stores its tabs half a second after a change.
  await listener.reload();
  await openTab(listener, 'WhoAmI');
  await run(listener, 'WhoAmI');
  await answer(listener, ({ data }) => data?.viewer?.id);

  assert.deepEqual(problems, []);

  // Given a sign-in link below a path, without the slash at the end, then the page works there, too.
  const moved = await browser.newPage();
  await moved.goto(`${below}/api#token=${TOKEN}`);
  await tab(moved, 'WhoAmI').waitFor();
  assert.equal(moved.url(), `${below}/api/`);
  await run(moved, 'WhoAmI');
  await answer(moved, ({ data }) => data?.viewer?.id);

  console.log('GraphiQL: query, mutation, live event, streaming message, reload and a path work; no error, no other host.');
} catch (error) {
  // The browser's problems are often the cause.
  console.error(problems.join('\n'));
  throw error;
} finally {
  await browser.close();
  proxy.close();
  await rm(profile, { recursive: true, force: true });
}
