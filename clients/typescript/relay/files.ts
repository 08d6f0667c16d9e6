// A Relay application's operations on a project's files: a fragment with pages, and a mutation and a subscription that
// update the store.
import { graphql } from 'relay-runtime';

export const page = graphql`
  query filesPageQuery($id: ID!) {
    project(id: $id) {
      ...files_project
      ...files_log
    }
  }
`;

export const files = graphql`
  fragment files_project on Project
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }, under: { type: "String" })
  @refetchable(queryName: "filesPaginationQuery") {
    name
    files(first: $count, after: $cursor, under: $under) @connection(key: "files_project_files", filters: ["under"]) {
      totalCount
      edges {
        node {
          path
          version
          ...files_line
        }
      }
    }
  }
`;

export const line = graphql`
  fragment files_line on ProjectFile @refetchable(queryName: "filesLineQuery") {
    path
    content
    versions(first: 3) {
      edges {
        node {
          version
          diff
        }
      }
    }
  }
`;

// Backwards, from the newest, as a log is shown.
export const log = graphql`
  fragment files_log on Project
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" })
  @refetchable(queryName: "filesLogQuery") {
    activeSession {
      title
    }
    sessions(last: $count, before: $cursor) @connection(key: "files_log_sessions") {
      edges {
        node {
          title
          messages(first: 10) {
            edges {
              node {
                role
                content
              }
            }
          }
        }
      }
    }
  }
`;

export const create = graphql`
  mutation filesCreateMutation($input: CreateFileInput!, $connections: [ID!]!) {
    createFile(input: $input) {
      revision
      file @appendNode(connections: $connections, edgeTypeName: "ProjectFileEdge") {
        path
        version
      }
    }
  }
`;

export const changed = graphql`
  subscription filesChangedSubscription($projectId: ID!, $afterRevision: Int) {
    codeChanged(projectId: $projectId, afterRevision: $afterRevision) {
      revision
      changes {
        type
        file {
          ...files_line
        }
      }
    }
  }
`;
