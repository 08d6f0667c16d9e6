// Prints the events of a project as they happen. It needs Node.js 18 or newer and no packages.
//
//   node examples/listen.mjs URL TOKEN PROJECT [AFTER_REVISION] [COUNT]
//
// It reads server-sent events: one POST with an unlimited response. The id of each event is its revision. If the connection
// breaks, the script connects again with the last revision that it received, so no event is missed or repeated.
// After COUNT events it ends; without COUNT it goes on.
const [url, token, projectId, after = '0', count = 'Infinity'] = process.argv.slice(2);
if (!projectId) {
  console.error('usage: node examples/listen.mjs URL TOKEN PROJECT [AFTER_REVISION] [COUNT]');
  process.exit(2);
}

const query = `subscription ($projectId: ID!, $afterRevision: Int) {
  projectEvents(projectId: $projectId, afterRevision: $afterRevision) {
    revision kind actor { fullName } message { role content } changes { type path }
  }
}`;
let last = Number(after);
let left = Number(count);

// End quietly if the reader of the output has ended, such as `head`.
process.stdout.on('error', (problem) => {
  if (problem.code !== 'EPIPE') throw problem;
  process.exit(0);
});

/** Reads one connection until it ends. Returns whether the subscription is complete. */
async function listen() {
  const response = await fetch(new URL('graphql', url.endsWith('/') ? url : `${url}/`), {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify({ query, variables: { projectId, afterRevision: last } }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s)));
      if (fields.event === 'complete') return true;
      if (fields.event !== 'next') continue; // a heartbeat
      const { data, errors } = JSON.parse(fields.data);
      if (errors) throw new Error(JSON.stringify(errors));
      const event = data.projectEvents;
      last = event.revision;
      const files = event.changes.map(({ type, path }) => `${type} ${path}`);
      const details = [event.message && `${event.message.role}: ${event.message.content}`, ...files].filter(Boolean);
      console.log([event.revision, event.kind, event.actor?.fullName, ...details].join('\t'));
      left -= 1;
      if (left <= 0) return true;
    }
  }
  return false;
}

for (;;) {
  try {
    if (await listen()) process.exit(0);
  } catch (problem) {
    // Do not retry after an error response, only after a lost connection.
    if (!(problem instanceof TypeError)) {
      console.error(problem.message);
      process.exit(1);
    }
    console.error(`No connection to ${url}: trying again.`);
  }
  await new Promise((resolve) => setTimeout(resolve, 1_000));
}
