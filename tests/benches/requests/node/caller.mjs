// The caller: how both servers read the bearer token, an HS256 JWT as Supabase issues it.
import { createHmac, timingSafeEqual } from 'node:crypto';

const { secret } = JSON.parse(process.env.BENCH);

// The token's claims. Throws if the signature is invalid or the token has expired.
export function claimsOf(authorization) {
  const [head, claims, signature] = (authorization ?? '').replace(/^Bearer /, '').split('.');
  const expected = createHmac('sha256', secret).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature ?? '', 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('invalid signature');
  const value = JSON.parse(Buffer.from(claims, 'base64url').toString());
  if (value.exp * 1000 < Date.now()) throw new Error('expired');
  return value;
}

// Prints the server's address, and ends the process with its parent.
export function announce(server) {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
  process.stdin.on('end', () => process.exit()).resume();
}
