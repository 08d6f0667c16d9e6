// graphql-request: a query, a mutation, batches, errors, and an invalid token.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ClientError, GraphQLClient, gql } from 'graphql-request';

import { tokenFor } from './package.mjs';
import { documents, headers, newProject, url } from './server.mjs';

const client = new GraphQLClient(url, { headers });

test('a query and a mutation', async () => {
  const { viewer } = await client.request(documents.Viewer);
  assert.match(viewer.email, /@/);
  const { createProject } = await client.request(documents.CreateProject, { input: newProject });
  assert.equal(createProject.project.name, newProject.name);
});

test('a query can use GET, and several queries one request', async () => {
  const byGet = new GraphQLClient(url, { headers, method: 'GET' });
  const { viewer } = await byGet.request(gql`query Viewer { viewer { id } }`);
  const answers = await client.batchRequests([{ document: '{ viewer { id } }' }, { document: '{ __typename }' }]);
  assert.deepEqual(answers.map(({ data }) => data), [{ viewer }, { __typename: 'Query' }]);
});

test('an error contains its code and its location', async () => {
  for (const [document, code] of [
    ['{ nope }', 'GRAPHQL_VALIDATION_FAILED'],
    ['{ viewer { id }', 'GRAPHQL_PARSE_FAILED'],
  ]) {
    await assert.rejects(client.request(document), (error) => {
      assert.ok(error instanceof ClientError);
      assert.equal(error.response.errors[0].extensions.code, code);
      assert.ok(error.response.errors[0].locations[0].line);
      return true;
    });
  }
  const variables = { input: [] };
  await assert.rejects(client.request(documents.CreateProject, variables), (error) => {
    assert.equal(error.response.errors[0].extensions.code, 'BAD_USER_INPUT');
    return true;
  });
});

test('an invalid or expired token is refused', async () => {
  for (const token of ['no.such.token', await tokenFor(-60)]) {
    const wrong = new GraphQLClient(url, { headers: { Authorization: `Bearer ${token}` } });
    await assert.rejects(wrong.request(documents.Viewer), (error) => {
      assert.equal(error.response.status, 401);
      assert.equal(error.response.errors[0].extensions.code, 'UNAUTHENTICATED');
      return true;
    });
  }
});
