// A server written by hand with `http` and `pg`: the caller's role and claims, one statement that returns JSON, commit.
//
//   POST /WORK with {"target", "content", "number"}. The bench passes the statements, and sends the same ones directly to
//   the database.
import http from 'node:http';
import pg from 'pg';
import { announce, claimsOf } from './caller.mjs';

const { url, works, connections } = JSON.parse(process.env.BENCH);
const pool = new pg.Pool({ connectionString: url, max: connections });

async function answer(request) {
  const { sub, role } = claimsOf(request.headers.authorization);
  const work = works[request.url.slice(1)];
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const given = { ...JSON.parse(Buffer.concat(chunks).toString()), caller: sub };

  const client = await pool.connect();
  try {
    const claims = client.escapeLiteral(JSON.stringify({ sub, role }));
    await client.query(`BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = ${claims}`);
    // Named, so that each connection prepares it once.
    const values = work.values.map((name) => given[name]);
    const { rows } = await client.query({ name: request.url, text: work.sql, values, rowMode: 'array' });
    await client.query('COMMIT');
    client.release();
    return rows[0][0];
  } catch (error) {
    await client.query('ROLLBACK').then(() => client.release(), (broken) => client.release(broken));
    throw error;
  }
}

const server = http.createServer(async (request, response) => {
  try {
    const data = await answer(request);
    response.writeHead(200, { 'content-type': 'application/json' }).end(`{"data":${data}}`);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ errors: [{ message: error.message }] }));
  }
});
server.listen(0, '127.0.0.1', () => announce(server));
