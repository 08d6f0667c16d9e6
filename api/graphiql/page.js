// The page at /: GraphiQL with this server's HTTP and WebSocket endpoints. It stores everything in sessionStorage, so
// that a token does not outlive its browser tab.
'use strict';

/* global React, ReactDOM, GraphiQL, graphqlWs */

const HEADERS = 'antiphon:headers';
const IDS = 'antiphon:ids';
// GraphiQL's own storage keys, with its prefix: its tabs, and the contents of its editors.
const GRAPHIQL_TABS = 'graphiql:tabState';
const GRAPHIQL_EDITORS = ['query', 'variables', 'headers'];

/**
 * Takes the token that the sign-in link carries in its fragment (`#token=…`), which no server sees, into the headers
 * editor of every tab, and out of the address bar and so out of the browser's history.
 *
 * @returns {boolean} whether there was one
 */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return false;
  const headers = JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);
  sessionStorage.setItem(HEADERS, headers);
  history.replaceState(null, '', location.pathname + location.search);
  // The stored ids belonged to another user.
  sessionStorage.removeItem(IDS);

  const stored = sessionStorage.getItem(GRAPHIQL_TABS);
  if (stored) {
    const state = JSON.parse(stored);
    for (const tab of state.tabs) tab.headers = headers;
    sessionStorage.setItem(GRAPHIQL_TABS, JSON.stringify(state));
  }
  return true;
}

/**
 * Lets GraphiQL open the tab that was open. It looks for the one that holds what its editors kept, which they do not at a
 * change of tabs; where it finds none it makes another, without variables.
 */
function reopenTab() {
  const { tabs, activeTabIndex } = JSON.parse(sessionStorage.getItem(GRAPHIQL_TABS) ?? '{}');
  const tab = tabs?.[activeTabIndex];
  if (!tab) return;
  for (const editor of GRAPHIQL_EDITORS) sessionStorage.setItem(`graphiql:${editor}`, tab[editor] ?? '');
}

/** Keeps the ids in a mutation's payload, for the placeholders of the example tabs. */
function rememberIds(data) {
  const ids = JSON.parse(sessionStorage.getItem(IDS) ?? '{}');
  for (const payload of Object.values(data ?? {})) {
    for (const noun of ['project', 'session', 'message', 'file', 'snapshot', 'agentConfiguration']) {
      const id = payload?.[noun]?.id ?? payload?.[`${noun}Id`];
      if (id) ids[`PASTE-${noun.toUpperCase()}-ID`] = id;
    }
  }
  sessionStorage.setItem(IDS, JSON.stringify(ids));
}

/** The variables with each placeholder (`"PASTE-PROJECT-ID"` and so on) replaced by the last id of its kind. */
function fillIds(variables) {
  const ids = JSON.parse(sessionStorage.getItem(IDS) ?? '{}');
  return JSON.parse(JSON.stringify(variables ?? {}), (_, value) => ids[value] ?? value);
}

/** One query or mutation over HTTP. */
async function ask(params, headers, isMutation) {
  const response = await fetch('graphql', {
    method: 'POST',
    headers: {
      Accept: 'application/graphql-response+json, application/json;q=0.9',
      'Content-Type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(params),
  });
  const text = await response.text();
  if (!/[/+]json/.test(response.headers.get('Content-Type') ?? '')) {
    throw new Error(`${response.status} ${response.statusText}: ${text}`);
  }
  const result = JSON.parse(text);
  if (isMutation) rememberIds(result.data);
  if (params.operationName === 'IntrospectionQuery' && !result.data && result.errors) {
    document.getElementById('status').textContent = `No documentation here: ${result.errors[0].message}`;
  }
  return result;
}

/**
 * One subscription, over a socket of its own: the token is said once a socket, so a changed header needs a new one.
 * An observable and not an async iterator, because a generator that waits for its next event cannot be stopped.
 */
function listen(params, headers) {
  const name = Object.keys(headers).find((header) => header.toLowerCase() === 'authorization');
  return {
    subscribe(observer) {
      const client = graphqlWs.createClient({
        url: new URL('graphql/ws', location.href).href.replace(/^http/, 'ws'),
        connectionParams: name && { Authorization: headers[name] },
        // 4403: the token has expired or access was removed. A retry would not help.
        shouldRetry: (problem) => problem.code !== undefined && problem.code !== 4403,
      });
      const payload = { ...params };
      client.subscribe(payload, {
        next(result) {
          // The client sends this payload again when it reconnects. By then it contains the last revision or the offset
          // in the text that was received, so nothing is missed or repeated.
          const { revision, nextOffset } = Object.values(result.data ?? {})[0] ?? {};
          if (revision !== undefined) payload.variables = { ...payload.variables, afterRevision: revision };
          if (nextOffset !== undefined) payload.variables = { ...payload.variables, afterOffset: nextOffset };
          observer.next(result);
        },
        error(problem) {
          if (Array.isArray(problem)) {
            observer.next({ errors: problem });
            observer.complete();
          } else if (problem?.code !== undefined) {
            observer.error(new Error(`The server closed the socket: ${problem.code} ${problem.reason}`));
          } else {
            observer.error(problem);
          }
        },
        complete: () => observer.complete(),
      });
      return { unsubscribe: () => client.dispose() };
    },
  };
}

/** GraphiQL's way to the server. */
function fetcher(params, options) {
  // GraphiQL requests the schema before its headers editor exists.
  const own = params.operationName === 'IntrospectionQuery' ? JSON.parse(sessionStorage.getItem(HEADERS) ?? '{}') : {};
  const headers = options?.headers ?? own;
  const operations = options?.documentAST?.definitions.filter(({ kind }) => kind === 'OperationDefinition') ?? [];
  const chosen = operations.find(({ name }) => name?.value === params.operationName) ?? operations[0];
  const request = { ...params, variables: fillIds(params.variables) };
  if (chosen?.operation === 'subscription') return listen(request, headers);
  return ask(request, headers, chosen?.operation === 'mutation');
}

async function start() {
  takeToken();
  reopenTab();
  window.addEventListener('hashchange', () => {
    if (takeToken()) location.reload();
  });
  document.getElementById('second-window').addEventListener('click', () => {
    // The new window starts with a copy of this window's sessionStorage, including the token.
    window.open('./', '_blank');
  });

  const examples = await (await fetch('graphiql/examples.json')).json();
  const headers = sessionStorage.getItem(HEADERS) ?? '';
  document.getElementById('status').textContent = headers
    ? 'Run the tabs from left to right.'
    : 'Not signed in: open the sign-in link that the server printed, or put a token into the Headers editor.';
  ReactDOM.createRoot(document.getElementById('graphiql')).render(
    React.createElement(GraphiQL, {
      fetcher,
      storage: sessionStorage,
      shouldPersistHeaders: true,
      isHeadersEditorEnabled: true,
      defaultEditorToolsVisibility: 'variables',
      defaultHeaders: headers,
      defaultTabs: examples.map(({ document, variables }) => ({ query: document, variables, headers })),
    }),
  );
}

start().catch((problem) => {
  document.getElementById('status').textContent = `This page could not start: ${problem.message}`;
});
