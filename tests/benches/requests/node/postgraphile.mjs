// PostGraphile 5 over the same tables, as one process, without the features that are off in production.
import http from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { jsonPgSmartTags } from 'postgraphile/utils';
import { announce, claimsOf } from './caller.mjs';

const { url, connections } = JSON.parse(process.env.BENCH);

// Relations that are no foreign keys in the database.
const relations = jsonPgSmartTags({
  version: 1,
  config: {
    class: {
      file_snapshots: {
        tags: { foreignKey: '(project_id, revision) references project_events (project_id, revision)|@fieldName event' },
      },
      file_change_history: {
        tags: { foreignKey: '(snapshot_id) references bench_diffs (version_id)|@fieldName stored' },
      },
    },
  },
});

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [relations],
  pgServices: [makePgService({ connectionString: url, schemas: ['public'], poolConfig: { max: connections } })],
  grafast: {
    explain: false,
    context(request) {
      const { sub, role } = claimsOf(request.node.req.headers.authorization);
      return { pgSettings: { role: 'authenticated', 'request.jwt.claims': JSON.stringify({ sub, role }) } };
    },
  },
  // All writes go through functions.
  schema: { defaultBehavior: '-insert -update -delete' },
  grafserv: { graphiql: false, watch: false, websockets: false },
};

const server = http.createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(0, '127.0.0.1', () => announce(server));
