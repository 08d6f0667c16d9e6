// Never run by itself: documents of gql.tada, typed by the schema alone. What must not compile is marked.
import { DatabaseService } from 'antiphon-db';
import { initGraphQLTada } from 'gql.tada';

import type { introspection } from './graphql-env.js';

const graphql = initGraphQLTada<{ introspection: introspection; scalars: { DateTime: string; Base64: string; JSON: unknown } }>();

const Card = graphql(`fragment Card on Project @_unmask { id name createdAt }`);
export const Viewer = graphql(`query Viewer { viewer { id email } }`);
export const Create = graphql(`mutation Create($input: CreateProjectInput!) { createProject(input: $input) { project { ...Card } } }`, [Card]);
export const Rename = graphql(`mutation Rename($id: ID!, $name: String!) { updateProject(input: { id: $id, name: $name }) { revision } }`);
export const Events = graphql(`subscription Events($id: ID!, $after: Int) { projectEvents(projectId: $id, afterRevision: $after) { revision kind } }`);

export async function rename(db: DatabaseService, id: string, name: string): Promise<number | undefined> {
  // @ts-expect-error: a name must be given.
  const incomplete = () => db.query(Rename, { id });
  const { updateProject } = await db.query(Rename, { id, name });
  // @ts-expect-error: nobody asked for it.
  return incomplete.length || updateProject?.project || updateProject?.revision;
}

export async function create(db: DatabaseService): Promise<{ id: string; name: string } | undefined> {
  const { createProject } = await db.query(Create, { input: { name: 'From gql.tada', initialPrompt: 'p', config: {} } });
  const created: string | undefined = createProject?.project.createdAt;
  return created ? createProject?.project : undefined;
}
