// The db package while its server restarts: what is listened to and what is being written goes on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, test } from 'node:test';

import { install, own } from './package.mjs';
import { eventually } from './server.mjs';

const { entry } = await install();
const { AntiphonError, DatabaseService } = await entry('index');

const free = createServer().listen(0, '127.0.0.1');
await once(free, 'listening');
const { port } = free.address();
free.close();
const base = `http://127.0.0.1:${port}`;

/** A server beside the one under test, with its database and its secret. */
let server;
async function start() {
  const env = { ...process.env, LISTEN: `127.0.0.1:${port}` };
  server = spawn(process.env.ANTIPHON ?? own('../../target/debug/antiphon'), { env, stdio: 'ignore' });
  await eventually(() => (assert.equal(server.exitCode, null), fetch(`${base}/readyz`).then(({ ok }) => ok, () => false)), 'the server');
}
async function stop(signal) {
  server.kill(signal);
  await once(server, 'exit');
}
await start();
after(() => server.kill('SIGKILL'));

test('what is listened to and what is being written goes on, each once and in order', async (t) => {
  const db = new DatabaseService({ url: `${base}/graphql`, token: process.env.TOKEN });
  const { id } = await db.createProject({ name: 'Restart', initial_prompt: 'p', config: {} });
  const session = await db.createChatSession({ project_id: id });
  const heard = [];
  const revisions = [];
  const interruptions = [];
  const problems = [];
  const options = { afterRevision: 0, onInterruption: ({ message }) => interruptions.push(message), onError: (error) => problems.push(error) };
  const ends = [
    db.onMessage(session.id, ({ content }) => heard.push(content), options),
    db.onProjectEvent(id, ({ revision }) => revisions.push(revision), options),
  ];
  t.after(() => ends.forEach((end) => end()));
  const expected = [];
  for (const [round, signal] of ['SIGTERM', 'SIGKILL', 'SIGTERM'].entries()) {
    expected.push((await db.createChatMessage({ session_id: session.id, role: 'user', content: `before ${round}` })).content);
    // The server goes away in the middle of a message.
    let restarted;
    const message = await db.writeMessage({ session_id: session.id, role: 'assistant' }, (async function* () {
      yield 'first ';
      await stop(signal);
      for (const call of [() => db.getProject(id), () => db.createChatMessage({ session_id: session.id, role: 'user', content: 'lost' }), () => db.getProjectFiles(id)]) {
        await assert.rejects(call(), (error) => error instanceof AntiphonError && error.code === 'NETWORK' && error.message === `${base}/graphql cannot be reached.`);
      }
      restarted = start();
      yield 'second ';
      await restarted;
      yield `${round}`;
    })());
    assert.equal(message.content, `first second ${round}`);
    expected.push(message.content);
  }
  await eventually(() => heard.length >= expected.length, 'all messages');
  assert.deepEqual(heard, expected);
  await eventually(() => revisions.length >= 2 + expected.length, 'all events');
  assert.deepEqual(revisions, Array.from({ length: 2 + expected.length }, (_, n) => n + 1));
  assert.deepEqual(problems, []);
  const reasons = [`The answer of ${base}/graphql ended early.`, `${base}/graphql cannot be reached.`];
  assert.deepEqual(interruptions.filter((message) => !reasons.some((reason) => message.startsWith(reason.slice(0, -1)))), []);
});
