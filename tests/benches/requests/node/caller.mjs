// Who is calling: what both servers do with the bearer token, an HS256 JWT as Supabase issues it.
import { createHmac, timingSafeEqual } from 'node:crypto';

const { secret } = JSON.parse(process.env.BENCH);

// The token's claims. Throws if the signature is not ours or the token has expired.
export function claimsOf(authorization) {
  const [head, claims, signature] = (authorization ?? '').replace(/^Bearer /, '').split('.');
  const expected = createHmac('sha256', secret).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature ?? '', 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('not signed by us');
  const value = JSON.parse(Buffer.from(claims, 'base64url').toString());
  if (value.exp * 1000 < Date.now()) throw new Error('expired');
  return value;
}

// Says where the server listens, and ends the process with the one that started it.
export function announce(server) {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
  process.stdin.on('end', () => process.exit()).resume();
}
