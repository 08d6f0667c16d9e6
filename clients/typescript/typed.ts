// Never run: the compiler checks it against the types that graphql-codegen generates from operations.graphql. Code that
// must not compile is marked; the compiler reports marked code that does.
import { ApolloClient, HttpLink, InMemoryCache } from '@apollo/client';
import type { ResultOf, VariablesOf } from '@graphql-typed-document-node/core';
import { Client, fetchExchange } from '@urql/core';

import {
  AddMessageDocument,
  AnyNodeDocument,
  ProjectEventsDocument,
  ProjectFilesDocument,
  ProjectPageDocument,
  SyncFilesDocument,
} from './generated.ts';

const apollo = new ApolloClient({ link: new HttpLink({ uri: '/graphql' }), cache: new InMemoryCache() });
const urql = new Client({ url: '/graphql', preferGetMethod: false, exchanges: [fetchExchange] });

export async function page(id: string): Promise<string> {
  const { data } = await apollo.query({ query: ProjectPageDocument, variables: { id } });
  const project = data?.project;
  if (!project) return 'There is no such project.';
  const created: string = project.createdAt;
  const role: 'OWNER' | 'EDITOR' | 'VIEWER' = project.viewerRole;
  const messages: number = project.stats.totalMessages;
  // @ts-expect-error: the e-mail can be null.
  const email: string = project.owner.email;
  // @ts-expect-error: the description is not selected.
  const description = project.description;
  return [project.name, project.revision + 1, created, role, messages, email, description].join();
}

export async function paths(id: string): Promise<string[]> {
  const { data } = await urql.query(ProjectFilesDocument, { id, first: 100, after: null });
  // @ts-expect-error: the id is required.
  await urql.query(ProjectFilesDocument, { first: 100 });
  return data?.project?.files.edges.map(({ node }) => `${node.path} ${node.content?.length ?? 'no text'}`) ?? [];
}

export async function write(sessionId: string, projectId: string): Promise<number | undefined> {
  const said = await apollo.mutate({
    mutation: AddMessageDocument,
    variables: { input: { sessionId, role: 'ASSISTANT', content: 'Done.', metadata: { tokens: [1, 2] } } },
  });
  const messageId = said.data?.addMessage?.message.id;
  // @ts-expect-error: there is no such role.
  const wrong: VariablesOf<typeof AddMessageDocument> = { input: { sessionId, role: 'ROBOT', content: '' } };
  const files = [{ path: 'main.py', content: 'print()\n' }, { path: 'logo.png', contentBase64: 'iVBORw0KGgo=' }];
  const input = { projectId, sessionId, messageId, files, mode: 'MERGE' as const };
  const synced = await urql.mutation(SyncFilesDocument, { input });
  return wrong.input.content.length || synced.data?.syncFiles?.created;
}

export function describe(node: ResultOf<typeof AnyNodeDocument>['node']): string {
  switch (node?.__typename) {
    case 'Project':
      return node.name;
    case 'ChatMessage':
      return node.isCheckpoint ? `checkpoint: ${node.content}` : node.content;
    default:
      return node?.id ?? 'nothing';
  }
}

export function listen(projectId: string, afterRevision: number): () => void {
  const events = apollo.subscribe({ query: ProjectEventsDocument, variables: { projectId, afterRevision } });
  const heard = events.subscribe(({ data }) => {
    const event = data?.projectEvents;
    if (event?.kind === 'FILES_CHANGED') console.log(event.revision, event.changes.map(({ path }) => path));
    // @ts-expect-error: there is no such kind.
    if (event?.kind === 'FILES_LOST') console.log(event.message?.content);
  });
  return () => heard.unsubscribe();
}
