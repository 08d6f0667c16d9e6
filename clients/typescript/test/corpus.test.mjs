// Compares the validation of the npm package `graphql` over the served schema, and the shapes of its responses, with
// the server's, without exceptions.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import * as graphql from 'graphql';

import { corpus, randomDocument } from './corpus.mjs';
import { headers, newProject, url } from './server.mjs';

let schema;
let ids;

/** Sends a request as it is, and waits if it exceeds the rate limit. */
async function send(body, accept = 'application/json') {
  for (;;) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json', Accept: accept },
      body,
    });
    if (response.status !== 429) return response;
    await response.arrayBuffer();
    await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(response.headers.get('retry-after')) || 1)));
  }
}

async function answer(query, variables) {
  const answer = await (await send(JSON.stringify({ query, variables }))).json();
  assert.equal(answer.errors, undefined, JSON.stringify(answer.errors));
  return answer.data;
}

/** The first result of a subscription. */
async function firstEvent(body) {
  const response = await send(body, 'text/event-stream');
  let text = '';
  const decoder = new TextDecoder();
  const timer = setTimeout(() => response.body.cancel?.().catch(() => {}), 10_000);
  try {
    for await (const chunk of response.body) {
      text += decoder.decode(chunk, { stream: true });
      const data = /^data: (.*)$/m.exec(text);
      if (data?.[1]) return JSON.parse(data[1]);
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`no event: ${text}`);
}

before(async () => {
  schema = graphql.buildClientSchema(await answer(graphql.getIntrospectionQuery({ oneOf: true, specifiedByUrl: true })));
  // The values that the server's own scalars accept.
  const scalar = (name, takes) => {
    const type = schema.getType(name);
    const checked = (value) => {
      if (!takes(value)) throw new TypeError(`${name} cannot be ${JSON.stringify(value)}`);
      return value;
    };
    type.parseValue = checked;
    type.parseLiteral = (node, variables) => checked(graphql.valueFromASTUntyped(node, variables));
  };
  scalar('DateTime', (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)) && /T.*(Z|[+-]\d\d:\d\d)$/.test(value));
  const made = await answer('mutation ($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }', { input: newProject });
  const project = made.createProject.project.id;
  const started = await answer('mutation ($input: StartSessionInput!) { startSession(input: $input) { session { id } } }', { input: { projectId: project } });
  for (const path of ['a', 'b/c']) {
    await answer('mutation ($input: CreateFileInput!) { createFile(input: $input) { revision } }', { input: { projectId: project, path, content: 'one\n' } });
  }
  ids = { project, session: started.startSession.session.id };
});

/** The verdict of the npm package `graphql` on a request, before execution. */
function judge({ document, variables, json, operationName }) {
  let parsed;
  try {
    parsed = graphql.parse(document);
  } catch (error) {
    return { verdict: 'GRAPHQL_PARSE_FAILED', why: error.message };
  }
  let errors;
  try {
    errors = graphql.validate(schema, parsed);
  } catch (error) {
    errors = [error];
  }
  if (errors.length > 0) return { verdict: 'GRAPHQL_VALIDATION_FAILED', why: errors[0].message };
  const operation = graphql.getOperationAST(parsed, operationName);
  if (!operation) return { verdict: 'BAD_USER_INPUT', why: 'no such operation' };
  const coerced = graphql.getVariableValues(schema, operation.variableDefinitions ?? [], json ? JSON.parse(json) : (variables ?? {}));
  if (coerced.errors) return { verdict: 'BAD_USER_INPUT', why: coerced.errors[0].message };
  return { verdict: 'valid', parsed, operation };
}

/** The server's verdict. A literal of an unexpected type has the same code as other invalid values. */
function heard(answer, expected) {
  const code = answer.errors?.[0]?.extensions?.code;
  if ('data' in answer || answer.errors?.every(({ path }) => path)) return 'valid';
  if (code === 'BAD_USER_INPUT' && expected === 'GRAPHQL_VALIDATION_FAILED') return expected;
  return code;
}

/** The response of the npm package `graphql` if its resolvers read the server's response. */
async function mirrored({ parsed, operation }, request, data) {
  const root = operation.operation === 'subscription' ? schema.getSubscriptionType() : undefined;
  return graphql.execute({
    schema,
    document: parsed,
    rootValue: data,
    operationName: request.operationName,
    variableValues: request.json ? JSON.parse(request.json) : request.variables,
    fieldResolver: (source, _arguments, _context, { path }) => {
      assert.ok(path.key in source, `${JSON.stringify(path)} is missing: ${request.document}`);
      return source[path.key];
    },
    typeResolver: (value) => value.__typename,
    root,
  });
}

const counts = {};

async function compare(request) {
  const { kind, document, variables, json, operationName } = request;
  const judged = judge(request);
  const body = json
    ? `{"query":${JSON.stringify(document)},"variables":${json}}`
    : JSON.stringify({ query: document, variables, operationName });
  const isSubscription = judged.operation?.operation === 'subscription' || kind === 'subscriptions';
  const answer = isSubscription ? await firstEvent(body) : await (await send(body)).json();
  const found = heard(answer, judged.verdict);
  const what = `${kind}: ${JSON.stringify(document)} ${json ?? JSON.stringify(variables) ?? ''}`;
  if (found !== judged.verdict) return `${what}\n    graphql: ${judged.verdict} ${judged.why ?? ''}\n    server: ${found} ${JSON.stringify(answer).slice(0, 300)}`;
  counts[kind] ??= { valid: 0, refused: 0 };
  counts[kind][found === 'valid' ? 'valid' : 'refused'] += 1;
  if (found !== 'valid' || !answer.data) return undefined;
  try {
    const expected = await mirrored(judged, request, answer.data);
    // The order of keys counts.
    assert.equal(JSON.stringify(answer.data), JSON.stringify(expected.data), expected.errors?.[0]?.message);
  } catch (error) {
    return `${what}\n    shape: ${error.message}\n    server: ${JSON.stringify(answer).slice(0, 500)}`;
  }
  return undefined;
}

async function compareAll(requests) {
  const differences = [];
  for (const request of requests) {
    const difference = await compare(request);
    if (difference) differences.push(difference);
  }
  assert.equal(differences.length, 0, `${differences.length} of ${requests.length} differ:\n${differences.join('\n')}`);
}

test('every document has the same verdict as in npm graphql, and a valid one the same shape', async () => {
  const requests = corpus(ids);
  assert.ok(requests.length >= 400, `${requests.length} documents`);
  await compareAll(requests);
  console.table(counts);
  const valid = Object.values(counts).reduce((sum, each) => sum + each.valid, 0);
  assert.ok(valid > 150 && requests.length - valid > 250, `${valid} of ${requests.length} are valid`);
});

test('random valid documents have the shape of their selections', async () => {
  // The same documents in every run (mulberry32).
  let seed = 20251;
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const requests = [];
  while (requests.length < 100) {
    const document = randomDocument(graphql, schema, random);
    if (document.length >= 4000 || judge({ document }).verdict !== 'valid') continue;
    // Documents above the cost limits are refused whatever their shape is.
    const { errors } = await (await send(JSON.stringify({ query: document }))).json();
    if (errors?.[0]?.extensions?.code !== 'QUERY_TOO_COMPLEX') requests.push({ kind: 'random', document });
  }
  await compareAll(requests);
});

test('strings are stored as npm graphql reads them', async () => {
  const literals = corpus(ids).flatMap(({ kind, document }) =>
    /strings/.test(kind) ? [document.slice('{ projects(filter: {search: '.length, -'}) { totalCount } }'.length)] : [],
  );
  let stored = 0;
  for (const [at, literal] of literals.entries()) {
    let value;
    try {
      const node = graphql.parseValue(literal);
      value = node.kind === graphql.Kind.STRING ? node.value : undefined;
    } catch {
      continue;
    }
    // Texts in the service contain no NUL.
    if (value === undefined || value.includes('\u0000')) continue;
    const document = `mutation { createFile(input: {projectId: "${ids.project}", path: "strings/${at}", content: ${literal}}) { file { content } } }`;
    const { createFile } = await answer(document);
    assert.equal(createFile.file.content, value, literal);
    stored += 1;
  }
  assert.ok(stored > 50, `${stored} literals`);
});
