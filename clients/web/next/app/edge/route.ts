import { DatabaseService } from 'antiphon-db';

export const runtime = 'edge';

export async function GET(): Promise<Response> {
  const db = new DatabaseService({ url: `${process.env.BASE_URL}/graphql`, token: process.env.TOKEN ?? null });
  return Response.json(await db.getCurrentUser());
}
