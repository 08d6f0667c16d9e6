'use client';

import { useHistory, usePresence } from 'antiphon-db/react';

export function Live({ projectId }: { projectId: string }) {
  const { data: changes = [], isLoading } = useHistory(projectId, { limit: 10 });
  const { data: people = [] } = usePresence(projectId);
  return <p>{isLoading ? 'waiting' : `${changes.length} changes, ${people.map(({ full_name }) => full_name).join()}`}</p>;
}
