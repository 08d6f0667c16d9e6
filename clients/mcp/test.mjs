// The official TypeScript client of the Model Context Protocol, and the command line of its inspector, against a running
// server (BASE_URL, TOKEN).

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

const { BASE_URL, TOKEN } = process.env;
const url = new URL(`${BASE_URL}/mcp`);
const run = promisify(execFile);

const TOOLS = [
  "list_projects",
  "list_files",
  "read_file",
  "search",
  "write_file",
  "rename",
  "delete",
  "diff",
  "history",
  "blame",
  "checkpoint",
  "restore_preview",
  "restore",
  "undo",
  "list_messages",
];

async function graphql(query, variables) {
  const response = await fetch(`${BASE_URL}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined);
  return data;
}

async function connect() {
  const client = new Client({ name: "test", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { authorization: `Bearer ${TOKEN}` } },
  });
  await client.connect(transport);
  return { client, transport };
}

let projectId;

before(async () => {
  const input = { name: "MCP", initialPrompt: "", config: {} };
  const made = await graphql("mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }", {
    input,
  });
  projectId = made.createProject.project.id;
});

test("the client finds the tools, and their results match their schemas", async () => {
  const { client, transport } = await connect();
  assert.equal(client.getServerVersion().name, "antiphon");
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), TOOLS);
  // The client validates the data of each result, also of an error, against the schema of the tool.
  const call = async (name, more) => {
    const result = await client.callTool({ name, arguments: { projectId, ...more } });
    assert.ok(!result.isError, JSON.stringify(result));
    return result.structuredContent;
  };
  const listed = await client.callTool({ name: "list_projects", arguments: {} });
  assert.ok(listed.structuredContent.projects.some((project) => project.id === projectId));
  const first = await call("write_file", { path: "src/a.ts", content: "one\n" });
  assert.equal(first.version, 1);
  const stale = await client.callTool({
    name: "write_file",
    arguments: { projectId, path: "src/a.ts", content: "two\n", expectedVersion: 7 },
  });
  assert.ok(stale.isError);
  assert.equal(stale.structuredContent.code, "CONFLICT");
  assert.equal(stale.structuredContent.currentVersion, 1);
  await call("write_file", { path: "src/a.ts", content: "two\n", expectedVersion: 1, message: "Count" });
  assert.equal((await call("read_file", { path: "src/a.ts" })).content, "two\n");
  assert.equal((await call("search", { query: "TWO" })).matches.length, 1);
  const mark = await call("checkpoint", { message: "Works" });
  await call("rename", { path: "src/a.ts", newPath: "b.ts" });
  await call("delete", { path: "b.ts" });
  assert.equal((await call("list_files", {})).files.length, 0);
  assert.equal((await call("restore_preview", { messageId: mark.messageId })).files.length, 1);
  const restored = await call("restore", { messageId: mark.messageId });
  assert.equal(restored.manifestSha256, mark.manifestSha256);
  assert.equal((await call("blame", { path: "src/a.ts" })).ranges[0].message, "Count");
  assert.ok((await call("history", {})).changes.length >= 5);
  assert.equal((await call("diff", { from: first.revision })).files.length, 1);
  await call("undo", { messageId: restored.messageId });
  const { messages } = await call("list_messages", {});
  assert.equal(messages[0].content, `Undo revision ${restored.revision}`);
  await assert.rejects(client.callTool({ name: "none", arguments: {} }), /Unknown tool/);
  await transport.terminateSession();
  await client.close();
});

test("the client is notified of files that others change", async () => {
  const { client, transport } = await connect();
  const seen = [];
  let notify;
  const notified = (count) =>
    new Promise((resolve) => {
      notify = () => seen.length >= count && resolve();
      notify();
    });
  const note = (what) => {
    seen.push(what);
    notify?.();
  };
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, (message) => note(message.params.uri));
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => note("list"));
  const create = "mutation($input: CreateFileInput!) { createFile(input: $input) { revision } }";
  const update = "mutation($input: UpdateFileInput!) { updateFile(input: $input) { revision } }";
  await graphql(create, { input: { projectId, path: "live/ä b.md", content: "1" } });
  const { resources } = await client.listResources();
  const resource = resources.find(({ name }) => name === "live/ä b.md");
  const { resourceTemplates } = await client.listResourceTemplates();
  assert.equal(resourceTemplates[0].uriTemplate, "antiphon://{projectId}/{+path}");
  await client.subscribeResource({ uri: resource.uri });
  await graphql(update, { input: { projectId, path: "live/ä b.md", content: "2" } });
  await notified(1);
  const { contents } = await client.readResource({ uri: resource.uri });
  assert.deepEqual(contents, [{ uri: resource.uri, mimeType: "text/markdown", text: "2" }]);
  await graphql(create, { input: { projectId, path: "live/c.md" } });
  await notified(2);
  assert.deepEqual(seen, [resource.uri, "list"]);
  await client.unsubscribeResource({ uri: resource.uri });
  await transport.terminateSession();
  await client.close();
});

test("a client without a token learns where to sign in", async () => {
  const refused = await fetch(url, { method: "POST" });
  assert.equal(refused.status, 401);
  const metadata = refused.headers.get("www-authenticate").match(/resource_metadata="(.*)"/)[1];
  const { resource } = await (await fetch(metadata)).json();
  assert.equal(resource, url.href);
});

let home;

before(async () => {
  home = await mkdtemp(join(tmpdir(), "inspector-"));
});
after(() => rm(home, { recursive: true }));

/** The result that the inspector prints. An era is a family of protocol versions: `legacy` has sessions, `modern` none. */
async function inspect(era, ...method) {
  const { stdout } = await run(
    process.execPath,
    [
      "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
      "--cli",
      url.href,
      "--transport",
      "http",
      "--header",
      `Authorization: Bearer ${TOKEN}`,
      "--protocol-era",
      era,
      "--method",
      ...method,
    ],
    { env: { ...process.env, HOME: home } },
  );
  return JSON.parse(stdout);
}

for (const era of ["legacy", "modern"]) {
  test(`the inspector lists the tools and calls some (${era})`, async () => {
    const { tools } = await inspect(era, "tools/list");
    assert.deepEqual(tools.map((tool) => tool.name), TOOLS);
    const call = (tool, ...args) =>
      inspect(era, "tools/call", "--tool-name", tool, ...args.flatMap((arg) => ["--tool-arg", arg]));
    const [project, path] = [`projectId=${projectId}`, `path=from/${era}.txt`];
    const written = await call("write_file", project, path, "content=hello");
    assert.equal(written.structuredContent.version, 1);
    const read = await call("read_file", project, path);
    assert.equal(read.structuredContent.content, "hello");
    const { contents } = await inspect(era, "resources/read", "--uri", `antiphon://${projectId}/from/${era}.txt`);
    assert.equal(contents[0].text, "hello");
  });
}
