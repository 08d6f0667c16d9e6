#!/bin/sh
# A walk through the API with curl and jq: a project, a session, files, a change, a restore.
#
#   sh examples/walk.sh http://127.0.0.1:8080 "$(antiphon token --email ada@example.com)"
set -eu
[ $# -eq 2 ] || { echo 'usage: sh examples/walk.sh URL TOKEN' >&2; exit 2; }
base=${1%/} token=$2
for tool in curl jq; do
  command -v "$tool" >/dev/null || { echo "this walk needs $tool" >&2; exit 1; }
done

# One operation: graphql DOCUMENT [VARIABLES]. Prints `data`; stops the script after any other response, and prints that.
graphql() {
  answer=$(jq -n --arg query "$1" --argjson variables "${2:-null}" '$ARGS.named' |
    curl -sS "$base/graphql" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d @-)
  if ! printf '%s' "$answer" | jq -e '.data and (.errors | not)' >/dev/null 2>&1; then
    printf '%s\n' "$answer" >&2
    exit 1
  fi
  printf '%s' "$answer" | jq .data
}

# Prints a response, and stores one of its ids in `id`.
take() {
  printf '%s\n' "$1"
  id=$(printf '%s' "$1" | jq -r "$2")
}

echo '# A project. It starts at revision 1.'
answer=$(graphql 'mutation {
  createProject(input: { name: "My Voice Agent", initialPrompt: "You are a helpful assistant.", config: { voice: "alloy" } }) {
    revision project { id name }
  }
}')
take "$answer" .createProject.project.id
project=$id

echo '# A session.'
answer=$(graphql 'mutation($project: ID!) {
  startSession(input: { projectId: $project, title: "Initial setup" }) { revision session { id title } }
}' "{ \"project\": \"$project\" }")
take "$answer" .startSession.session.id
session=$id

echo '# A message of the assistant. It is a checkpoint, so the server makes a snapshot.'
answer=$(graphql 'mutation($session: ID!) {
  addMessage(input: { sessionId: $session, role: ASSISTANT, isCheckpoint: true, content: "Here is a simple voice agent." }) {
    revision message { id content }
  }
}' "{ \"session\": \"$session\" }")
take "$answer" .addMessage.message.id
message=$id

echo '# Two files in one revision. They name the message, so its snapshot includes them.'
graphql 'mutation($project: ID!, $message: ID!) {
  syncFiles(input: { projectId: $project, messageId: $message, files: [
    { path: "main.py", content: "print(\"Hello, World!\")\n" }, { path: "utils.py", content: "" }
  ] }) { revision created changes { path diff } }
}' "{ \"project\": \"$project\", \"message\": \"$message\" }"

echo '# A change, with the version that it is based on.'
graphql 'mutation($project: ID!) {
  updateFile(input: { projectId: $project, path: "main.py", expectedVersion: 1, changeDescription: "Greet properly",
    content: "print(\"Hello, Voice Assistant!\")\n" }) {
    revision file { version versions { nodes { version revision changeDescription diff } } }
  }
}' "{ \"project\": \"$project\" }"

echo '# Back to the snapshot. The present state gets a snapshot of its own first.'
answer=$(graphql 'query($project: ID!) { project(id: $project) { snapshots { nodes { id name revision } } } }' \
  "{ \"project\": \"$project\" }")
take "$answer" '.project.snapshots.nodes[0].id'
snapshot=$id
graphql 'mutation($snapshot: ID!) {
  restoreSnapshot(input: { snapshotId: $snapshot }) { revision backup { name } changes { type path } }
}' "{ \"snapshot\": \"$snapshot\" }"

echo '# Nothing is gone: the file as it was before the restore.'
graphql 'query($project: ID!) {
  project(id: $project, at: { revision: 5 }) { file(path: "main.py") { version content } }
}' "{ \"project\": \"$project\" }"
