// Normalized caches that read the present and the past of one object: one never replaces the other.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { ApolloClient, HttpLink, InMemoryCache } from '@apollo/client';
import { Client, fetchExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { buildSchema, introspectionFromSchema, parse } from 'graphql';
import relay from 'relay-runtime';

import { headers, newProject, schemaFile, url } from './server.mjs';

const own = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const FILE = 'id version content';
const SESSION = 'id messageCount messages(first: 10) { edges { node { id isHidden session { id messageCount } } } }';
const CONFIGURATION = 'id configName';
const texts = {
  Present: `query pastsPresentQuery($id: ID!) { project(id: $id) { id name revision file(path: "a") { ${FILE} }
    sessions(first: 1) { edges { node { ${SESSION} } } } agentConfigurations { ${CONFIGURATION} } } }`,
  // The same file with its own revision, from the present project.
  FileThen: `query pastsFileThenQuery($id: ID!, $at: Int!) { project(id: $id) { id file(path: "a", at: $at) { ${FILE} project { id name } } } }`,
  FilesThen: `query pastsFilesThenQuery($id: ID!, $at: Int!) { project(id: $id) { id files(at: $at, first: 10) { edges { node { ${FILE} } } } } }`,
  Then: `query pastsThenQuery($id: ID!, $at: Int!) { project(id: $id, at: { revision: $at }) { id name revision file(path: "a") { ${FILE} }
    sessions(first: 1) { edges { node { ${SESSION} } } } agentConfigurations { ${CONFIGURATION} } } }`,
  Snapshots: `query pastsSnapshotsQuery($id: ID!) { project(id: $id) { id snapshots(first: 1) { edges { node { id
    files(first: 10) { edges { node { ${FILE} } } } } } } } }`,
  Lead: `query pastsLeadQuery($id: ID!) { node(id: $id) { __typename id ... on ProjectFile { version present { ${FILE} } } } }`,
  Update: `mutation pastsUpdateMutation($input: UpdateFileInput!) { updateFile(input: $input) { revision file { ${FILE} } } }`,
  Rename: `mutation pastsRenameMutation($input: UpdateProjectInput!) { updateProject(input: $input) { project { id name revision } } }`,
};

/** Sends a request without a cache. */
async function write(name, input, select = '') {
  const query = `mutation($input: ${name[0].toUpperCase()}${name.slice(1)}Input!) { ${name}(input: $input) { revision ${select} } }`;
  const body = JSON.stringify({ query, variables: { input } });
  const answer = await fetch(url, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data[name];
}

/** A project all of whose parts have changed since `then`. */
async function changedProject() {
  const { project } = await write('createProject', newProject, 'project { id }');
  const projectId = project.id;
  const { session } = await write('startSession', { projectId }, 'session { id }');
  const said = { sessionId: session.id, role: 'USER', content: 'Hello' };
  await write('addMessage', said);
  const agent = { projectId, configName: 'First', sttProvider: 'a', sttModel: 'a', ttsProvider: 'a', ttsModel: 'a', llmProvider: 'a',
    llmModel: 'a', agentInstructions: 'a' };
  await write('saveAgentConfiguration', agent);
  await write('createFile', { projectId, path: 'a', content: 'old\n' });
  const { revision } = await write('createSnapshot', { projectId, name: 'Then' });
  await write('updateFile', { projectId, path: 'a', content: 'new\n' });
  await write('addMessage', said);
  await write('saveAgentConfiguration', { ...agent, configName: 'Second' });
  await write('updateProject', { id: projectId, name: 'Renamed' });
  return { id: projectId, at: revision };
}

/**
 * The tests of every cache. `ask` reads over the network into the cache; `watch` reads only the cache, and returns its present
 * data.
 */
function stories(name, { ask, watch, mutate }) {
  test(`${name}: a displayed object stays, whatever is read of its past`, async () => {
    const { id, at } = await changedProject();
    await ask('Present', { id });
    const present = watch('Present', { id });
    const shown = structuredClone(present());
    assert.deepEqual([shown.project.name, shown.project.file.content], ['Renamed', 'new\n']);
    const older = [];
    for (const [read, variables] of [['FileThen', { id, at }], ['FilesThen', { id, at }], ['Then', { id, at }], ['Snapshots', { id }]]) {
      older.push(await ask(read, variables));
      assert.deepEqual(present(), shown, `after ${read}`);
    }
    const [file, files, then, snapshots] = older.map(({ project }) => project);
    assert.deepEqual([file.id, file.file.content, file.file.project.name], [id, 'old\n', newProject.name]);
    assert.equal(files.files.edges[0].node.content, 'old\n');
    assert.deepEqual([then.name, then.revision, then.file.content], [newProject.name, at, 'old\n']);
    assert.equal(snapshots.snapshots.edges[0].node.files.edges[0].node.content, 'old\n');
    assert.deepEqual([shown, { project: then }].map(({ project }) => project.sessions.edges[0].node.messageCount), [2, 1]);
    assert.deepEqual([shown, { project: then }].map(({ project }) => project.agentConfigurations.at(-1).configName), ['Second', 'First']);

    // From the past to the present, which is the same object for the cache.
    const lead = await ask('Lead', { id: file.file.id });
    assert.deepEqual([lead.node.version, lead.node.present], [1, shown.project.file]);
    await mutate('Update', { input: { projectId: id, path: 'a', content: 'newest\n' } });
    assert.equal(watch('Lead', { id: file.file.id })().node.present.content, 'newest\n');
    assert.equal(present().project.file.content, 'newest\n');
  });

  test(`${name}: a displayed past stays, whatever is written and read of the present`, async () => {
    const { id, at } = await changedProject();
    await ask('Then', { id, at });
    await ask('FileThen', { id, at });
    const [then, file] = [watch('Then', { id, at }), watch('FileThen', { id, at })];
    const shown = structuredClone([then(), file()]);
    await ask('Present', { id });
    await mutate('Update', { input: { projectId: id, path: 'a', content: 'newest\n' } });
    await mutate('Rename', { input: { id, name: 'Renamed again' } });
    assert.deepEqual([then(), file()], shown);
    const present = watch('Present', { id })();
    assert.deepEqual([present.project.name, present.project.file.content], ['Renamed again', 'newest\n']);
  });
}

const documents = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, parse(text)]));

const apollo = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() });
const bare = (value) => JSON.parse(JSON.stringify(value, (key, inner) => (key === '__typename' ? undefined : inner)));
stories('Apollo', {
  ask: async (name, variables) =>
    bare((await apollo.query({ query: documents[name], variables, fetchPolicy: 'network-only' })).data),
  watch: (name, variables) => () => bare(apollo.readQuery({ query: documents[name], variables })),
  mutate: (name, variables) => apollo.mutate({ mutation: documents[name], variables }),
});

const schema = introspectionFromSchema(buildSchema(await readFile(schemaFile, 'utf8')));
const urql = new Client({
  url,
  preferGetMethod: false,
  fetchOptions: { headers },
  fetch: (input, { signal: _signal, ...init }) => fetch(input, init),
  exchanges: [cacheExchange({ schema }), fetchExchange],
});
const answered = async (source) => {
  const { data, error } = await source.toPromise();
  if (error) throw error;
  return bare(data);
};
stories('urql', {
  ask: (name, variables) => answered(urql.query(documents[name], variables, { requestPolicy: 'network-only' })),
  watch: (name, variables) => () => bare(urql.readQuery(documents[name], variables, { requestPolicy: 'cache-only' })?.data ?? null),
  mutate: (name, variables) => answered(urql.mutation(documents[name], variables)),
});

const { Environment, Network, RecordSource, Store, commitMutation, createOperationDescriptor, fetchQuery } = relay;
const folder = await mkdtemp(join(tmpdir(), 'antiphon-pasts-'));
after(() => rm(folder, { recursive: true, force: true }));
const artifacts = {};
before(async () => {
  await symlink(own('node_modules'), join(folder, 'node_modules'));
  await mkdir(join(folder, 'src'));
  await mkdir(join(folder, 'artifacts'));
  await cp(schemaFile, join(folder, 'schema.graphql'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const source = Object.values(texts).map((text) => `graphql\`${text}\`;`).join('\n');
  await writeFile(join(folder, 'src/pasts.js'), `import { graphql } from 'relay-runtime';\n${source}\n`);
  const config = { src: './src', schema: './schema.graphql', language: 'javascript', artifactDirectory: './artifacts',
    eagerEsModules: true };
  await writeFile(join(folder, 'relay.config.json'), JSON.stringify(config));
  await promisify(execFile)(process.execPath, [own('node_modules/relay-compiler/cli.js'), 'relay.config.json'], { cwd: folder });
  for (const [name, text] of Object.entries(texts)) {
    const [, artifact] = /(pasts\w+)/.exec(text);
    artifacts[name] = (await import(pathToFileURL(join(folder, `artifacts/${artifact}.graphql.js`)))).default;
  }
});
const environment = new Environment({
  network: Network.create(async ({ text: query }, variables) => {
    const body = JSON.stringify({ query, variables });
    return (await fetch(url, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body })).json();
  }),
  store: new Store(new RecordSource()),
});
const look = (name, variables) => {
  const operation = createOperationDescriptor(artifacts[name], variables);
  environment.retain(operation);
  return () => {
    const { data, isMissingData } = environment.lookup(operation.fragment);
    assert.equal(isMissingData, false, name);
    return bare(data);
  };
};
stories('Relay', {
  ask: async (name, variables) => {
    environment.retain(createOperationDescriptor(artifacts[name], variables));
    return bare(await fetchQuery(environment, artifacts[name], variables).toPromise());
  },
  watch: look,
  mutate: (name, variables) =>
    new Promise((resolve, reject) => {
      commitMutation(environment, { mutation: artifacts[name], variables, onCompleted: resolve, onError: reject });
    }),
});
