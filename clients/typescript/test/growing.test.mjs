// A streaming message: written like a language model's stream, and received by the reference clients of both protocols.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { print } from 'graphql';
import { createClient } from 'graphql-sse';

import { documents, headers, newProject, socketClient, url } from './server.mjs';

const query = Object.fromEntries(Object.entries(documents).map(([name, document]) => [name, print(document)]));

async function ask(client, operation, variables) {
  for await (const { data, errors } of client.iterate({ query: query[operation], variables })) {
    assert.equal(errors, undefined);
    return data;
  }
  assert.fail(`${operation} has no result`);
}

async function startMessage(client) {
  const { createProject } = await ask(client, 'CreateProject', { input: newProject });
  const { startSession } = await ask(client, 'StartSession', { input: { projectId: createProject.project.id } });
  const input = { sessionId: startSession.session.id, role: 'ASSISTANT' };
  return (await ask(client, 'StartMessage', { input })).startMessage;
}

/** A language model's tokens. The family of four is one character to a reader, and seven code points. */
const answer = ['Here is ', 'a simple ', 'voice agent', ' \u{1f468}\u{200d}\u{1f469}', '\u{200d}\u{1f467}\u{200d}\u{1f466}', '.\n'];

/** Writes the tokens. The server returns each next offset, so the client counts nothing. */
async function write(client, { messageId, length: offset }) {
  for (const text of answer) {
    const { appendToMessage } = await ask(client, 'AppendToMessage', { input: { messageId, offset, text } });
    offset = appendToMessage.length;
  }
  return (await ask(client, 'FinishMessage', { input: { messageId, length: offset } })).finishMessage;
}

/** Receives a message to its end. */
async function hear(client, variables, begun = () => {}) {
  let text = '';
  for await (const { data, errors } of client.iterate({ query: query.MessageStream, variables })) {
    assert.equal(errors, undefined);
    begun();
    text += data.messageStream.text;
    if (data.messageStream.state !== 'STREAMING') return { ...data.messageStream, whole: text };
  }
  assert.fail('the stream has ended before the message');
}

for (const [name, listener] of [
  ['graphql-ws', () => socketClient()],
  ['graphql-sse', () => createClient({ url, headers })],
]) {
  test(`${name} receives a streaming message and its end`, async () => {
    const writer = socketClient();
    const started = await startMessage(writer);
    const client = listener();
    let heard;
    await new Promise((attached) => (heard = hear(client, { messageId: started.messageId }, attached)));
    const { revision, message } = await write(writer, started);
    const { whole, state, message: told } = await heard;
    assert.equal(whole, answer.join(''));
    assert.equal(state, 'FINISHED');
    assert.deepEqual([revision, message.content, told.content], [3, whole, whole]);

    // A later subscriber reads from its own offset.
    const late = await hear(client, { messageId: started.messageId, afterOffset: answer[0].length });
    assert.equal(late.whole, answer.slice(1).join(''));
    await client.dispose();
    await writer.dispose();
  });
}
