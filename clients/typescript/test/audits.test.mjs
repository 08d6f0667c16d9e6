// The audits of the npm package graphql-http for GraphQL over HTTP.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { serverAudits } from 'graphql-http';

import { headers, url } from './server.mjs';

/** The number of audits of each level: with fewer, some have not run. */
const LEVELS = { MUST: 13, SHOULD: 23, MAY: 25 };

for (const [who, own] of [['a signed-in client', headers], ['a client without a token', {}]]) {
  test(`all audits pass for ${who}`, async (t) => {
    const fetchFn = (input, init) => fetch(input, { ...init, headers: { ...own, ...init?.headers } });
    const counts = {};
    const failed = [];
    for (const audit of serverAudits({ url, fetchFn })) {
      const level = audit.name.split(' ')[0];
      const result = await audit.fn();
      counts[level] ??= { all: 0, ok: 0 };
      counts[level].all += 1;
      if (result.status === 'ok') counts[level].ok += 1;
      else failed.push(`${audit.id} ${audit.name}: ${result.reason}`);
    }
    const lines = Object.entries(counts).map(([level, { all, ok }]) => `${level} ${ok} of ${all}`);
    t.diagnostic(`audits for ${who}: ${lines.join(', ')}`);
    assert.deepEqual(failed, []);
    assert.deepEqual(Object.fromEntries(Object.entries(counts).map(([level, { all }]) => [level, all])), LEVELS);
  });
}
