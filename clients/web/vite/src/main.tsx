import { connect, db, type AntiphonError, type ProjectOverview } from 'antiphon-db';
import { documents } from 'antiphon-db/documents';
import { DatabaseProvider, useFiles, useMessages, useProject } from 'antiphon-db/react';
import { createRoot } from 'react-dom/client';
import { StrictMode, useEffect, useState } from 'react';

connect({ url: '/graphql', token: async () => sessionStorage.getItem('token') });

function Dashboard() {
  const [projects, setProjects] = useState<ProjectOverview[]>([]);
  useEffect(() => {
    db.getUserProjects({}, { page: 1, limit: 20 }).then(({ data }) => setProjects(data), (error: AntiphonError) => console.error(error.code));
  }, []);
  return projects.map(({ id, name }) => <Editor key={id} projectId={id} sessionId={null} title={name} />);
}

function Editor({ projectId, sessionId, title }: { projectId: string; sessionId: string | null; title: string }) {
  const project = useProject(projectId);
  const { data: messages = [] } = useMessages(sessionId);
  const { data: files = [], isLoading } = useFiles(projectId);
  const undo = async () => console.log((await db.query(documents.undo, { input: { projectId } })).undo?.revision);
  return (
    <section>
      <h1 onClick={undo}>{project.data?.name ?? title}</h1>
      {isLoading ? 'Loading' : files.map((file) => <p key={file.id}>{file.file_path}</p>)}
      {messages.map((message) => <p key={message.id}>{message.content}</p>)}
    </section>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <DatabaseProvider service={db}>
      <Dashboard />
    </DatabaseProvider>
  </StrictMode>,
);
