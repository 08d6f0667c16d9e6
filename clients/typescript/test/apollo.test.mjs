// Apollo Client with its normalized cache.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';

import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { relayStylePagination } from '@apollo/client/utilities';
import { OperationTypeNode } from 'graphql';

import { documents, eventually, headers, newProject, socketClient, url } from './server.mjs';

const socket = socketClient();
const apollo = new ApolloClient({
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket),
    new HttpLink({ uri: url, headers }),
  ),
  cache: new InMemoryCache({
    possibleTypes: { Node: ['Project', 'ChatMessage', 'User'] },
    typePolicies: { Project: { fields: { files: relayStylePagination() } } },
  }),
});
after(async () => {
  apollo.stop();
  await socket.dispose();
});

const mutate = async (operation, input) =>
  (await apollo.mutate({ mutation: documents[operation], variables: { input } })).data;

let projectId;
let sessionId;

test('a mutation puts its result into the cache', async () => {
  const { createProject } = await mutate('CreateProject', newProject);
  projectId = createProject.project.id;
  assert.equal(apollo.cache.extract()[`Project:${projectId}`].name, newProject.name);
  const { startSession } = await mutate('StartSession', { projectId, title: 'Initial Setup' });
  sessionId = startSession.session.id;
});

test('a displayed page changes with a mutation elsewhere, without another request', async () => {
  const seen = [];
  const page = apollo.watchQuery({ query: documents.ProjectPage, variables: { id: projectId } });
  const watching = page.subscribe(({ data }) => data?.project && seen.push(data.project.name));
  await eventually(() => seen.length, 'the page');
  await mutate('RenameProject', { id: projectId, name: 'Renamed' });
  await eventually(() => seen.at(-1) === 'Renamed', 'the new name');
  watching.unsubscribe();
  const { data } = await apollo.query({
    query: documents.ProjectPage,
    variables: { id: projectId },
    fetchPolicy: 'cache-only',
  });
  assert.equal(data.project.revision, 3);
});

test('pages of a connection are joined in the cache', async () => {
  const files = ['a.py', 'b.py', 'c.py'].map((path) => ({ path, content: `# ${path}\n` }));
  const { syncFiles } = await mutate('SyncFiles', { projectId, sessionId, files });
  assert.equal(syncFiles.created, 3);
  const list = apollo.watchQuery({ query: documents.ProjectFiles, variables: { id: projectId, first: 2 } });
  const watching = list.subscribe(() => {});
  const shown = () => list.getCurrentResult().data?.project?.files;
  const first = await eventually(shown, 'the first page');
  assert.deepEqual([first.edges.length, first.totalCount, first.pageInfo.hasNextPage], [2, 3, true]);
  await list.fetchMore({ variables: { after: first.pageInfo.endCursor } });
  const all = await eventually(() => shown().edges.length === 3 && shown(), 'the second page');
  assert.deepEqual(all.edges.map(({ node }) => node.path), ['a.py', 'b.py', 'c.py']);
  assert.equal(all.pageInfo.hasNextPage, false);

  // A file in a list and in a payload is one object.
  await mutate('UpdateFile', { projectId, path: 'b.py', content: 'print(2)\n', expectedVersion: 1 });
  const changed = await eventually(() => shown().edges[1].node.version === 2 && shown().edges[1].node, 'version 2');
  assert.equal(changed.content, 'print(2)\n');
  watching.unsubscribe();
});

test('an error contains its code and the current version', async () => {
  const problem = await mutate('UpdateFile', { projectId, path: 'b.py', content: 'late', expectedVersion: 1 }).catch(
    (error) => error,
  );
  assert.ok(CombinedGraphQLErrors.is(problem), String(problem));
  assert.equal(problem.errors[0].extensions.code, 'CONFLICT');
  assert.equal(problem.errors[0].extensions.currentVersion, 2);
});

test('a subscription replays and continues live, and its messages are in the cache', async () => {
  const heard = [];
  const listening = apollo
    .subscribe({ query: documents.ProjectEvents, variables: { projectId, afterRevision: 0 } })
    .subscribe(({ data }) => heard.push(data.projectEvents));
  const { addMessage } = await mutate('AddMessage', {
    sessionId,
    role: 'ASSISTANT',
    content: "I'll create a voice agent for you...",
    isCheckpoint: true,
  });
  assert.equal(addMessage.snapshot.revision, addMessage.revision);
  await eventually(() => heard.at(-1)?.revision === addMessage.revision, 'the event');
  listening.unsubscribe();
  assert.deepEqual(heard.map(({ revision }) => revision), heard.map((_, at) => at + 1));
  const { id } = addMessage.message;
  assert.equal(apollo.cache.extract()[`ChatMessage:${id}`].isCheckpoint, true);
  const { data } = await apollo.query({ query: documents.AnyNode, variables: { id } });
  assert.deepEqual([data.node.__typename, data.node.isCheckpoint], ['ChatMessage', true]);
});

test('a query is sent in full once, and by its hash afterwards', async () => {
  const sent = [];
  const link = new HttpLink({
    uri: url,
    headers,
    fetch: (input, init) => {
      sent.push(JSON.parse(init.body));
      return fetch(input, init);
    },
  });
  const sha256 = (text) => createHash('sha256').update(text).digest('hex');
  const persisted = new ApolloClient({
    link: new PersistedQueryLink({ sha256 }).concat(link),
    cache: new InMemoryCache(),
  });
  // A new document.
  const query = gql(`query Once { viewer { id email } } # ${projectId}`);
  for (let times = 0; times < 2; times += 1) {
    const { data } = await persisted.query({ query, fetchPolicy: 'no-cache' });
    assert.match(data.viewer.email, /@/);
  }
  persisted.stop();
  const whole = sent.map(({ query }) => query !== undefined);
  assert.deepEqual([whole.slice(-3), sent.length <= 3], [whole.length === 3 ? [false, true, false] : [false, false], true]);
});
