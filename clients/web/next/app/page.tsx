import { DatabaseService } from 'antiphon-db';

import { Live } from './live';

export const dynamic = 'force-dynamic';

// A service of its own for each request: nobody writes as somebody else.
export default async function Page() {
  const db = new DatabaseService({ url: `${process.env.BASE_URL}/graphql`, token: process.env.TOKEN ?? null });
  const { data } = await db.getUserProjects({ search: process.env.PROJECT ?? '' });
  return data.map(({ id, name }) => (
    <section key={id}>
      <h1>{name}</h1>
      <Live projectId={id} />
    </section>
  ));
}
