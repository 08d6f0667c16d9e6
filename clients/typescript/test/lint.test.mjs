// The schema by the recommended rules of graphql-eslint.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import plugin from '@graphql-eslint/eslint-plugin';
import { ESLint } from 'eslint';

import { schemaFile } from './server.mjs';

/**
 * Types without an id: pages, their edges and the answers of mutations lead to nodes and are none, as Relay's specification has
 * them; the others are values of the object that they are read from.
 */
const VALUES = {
  suffixes: ['Connection', 'Edge', 'Payload'],
  types: [
    'ActivitySummary', 'ActivityTotals', 'BlameRange', 'BucketTotals', 'CodeChangeSet', 'Contributor', 'FileActivity', 'FileDiff',
    'HourActivity', 'Insights', 'MessageChunk', 'PageInfo', 'ProjectStats', 'RestorePreview',
  ],
};

test('the schema keeps every recommended rule', async (t) => {
  const schema = fileURLToPath(schemaFile);
  const { rules } = plugin.configs['flat/schema-recommended'];
  const config = {
    files: ['**/*.graphql'],
    languageOptions: { parser: plugin.parser, parserOptions: { graphQLConfig: { schema } } },
    plugins: { '@graphql-eslint': plugin },
    rules: { ...rules, '@graphql-eslint/strict-id-in-types': ['error', { exceptions: VALUES }] },
  };
  const eslint = new ESLint({ cwd: fileURLToPath(new URL('.', schemaFile)), overrideConfigFile: true, overrideConfig: [config] });
  const [{ messages }] = await eslint.lintFiles([schema]);
  assert.deepEqual(messages.map(({ line, ruleId, message }) => `${line} ${ruleId}: ${message}`), []);
  t.diagnostic(`${Object.keys(rules).length} rules`);
});
