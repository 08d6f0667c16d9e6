// Documents with variables, by the part of the specification that defines their validity. `ids` are existing ids: a
// project, a session and a file of the caller.

const QUOTES = '"""';

/** One document of each kind, and how to derive similar ones. */
export function corpus(ids) {
  const all = [];
  const add = (kind, document, variables, operationName) => all.push({ kind, document, variables, operationName });
  const each = (kind, ...documents) => documents.forEach((document) => add(kind, document));

  each(
    'syntax',
    '', ' ', '#', '{', '}', '{}', '{ }', '{ viewer }', '{ viewer { } }', '{ viewer { id }', '{ viewer { id } } }', 'viewer',
    '{ viewer: }',
    '{ : viewer }', '{ a: b: viewer { id } }', '{ viewer { id } } extra', 'query { viewer { id } } { viewer { id } }',
    'queryy { viewer { id } }',
    'query', 'query A', 'query A {', 'query ( ) { viewer { id } }', 'query () { viewer { id } }', 'query A() { viewer { id } }',
    '{ viewer() { id } }',
    '{ projects(first: ) { totalCount } }', '{ projects(first true) { totalCount } }', '{ projects(: 1) { totalCount } }',
    '{ projects(first: 1 { totalCount } }', '{ projects(first: 1)) { totalCount } }', '{ projects(first = 1) { totalCount } }',
    '{ projects((first: 1)) { totalCount } }', '{ projects(first: 1,,, ) { totalCount } }', '{ ,viewer,,{,id,}, }',
    '{ viewer { id };}',
    '{ viewer { ... } }', '{ viewer { ...on } }', '{ viewer { ...on User } }', '{ viewer { ... on User { id } } }',
    '{ viewer { ... on { id } } }',
    '{ viewer { ...F } } fragment F on User { id }', '{ viewer { ...on } } fragment on on User { id }',
    'fragment F { id } { viewer { ...F } }',
    'fragment F on User { id }', 'fragment F on User', '{ viewer { ...F } } fragment F User { id }',
    'fragment on User { id } { viewer { id } }',
    '{ viewer @ { id } }', '{ viewer @include { id } }', '{ viewer @include() { id } }', '{ viewer @include(if true) { id } }',
    '{ viewer { id @ include(if: true) } }', '{ viewer { id @include (if: true) } }', '{ viewer { id } } @include(if: true)',
    'query @include(if: true) { viewer { id } }', 'query A @include(if: true) { viewer { id } }', 'query $a { viewer { id } }',
    'query ($a) { viewer { id } }', 'query ($a:) { viewer { id } }', 'query ($a: [ID) { viewer { id } }',
    'query ($a: ID!!) { viewer { id } }',
    'query ($a: [ID!]!) { nodes(ids: $a) { id } }', 'query ($a: [ID]]) { viewer { id } }', 'query ($: ID) { viewer { id } }',
    'query (a: ID) { viewer { id } }',
    'query ($a: ID = ) { viewer { id } }', 'query ($a: ID = $b, $b: ID) { node(id: $a) { id } }',
    'query ($a: [ID!] = [$b], $b: ID!) { nodes(ids: $a) { id } }',
    'query ($a ID) { viewer { id } }', 'query ($a: ID $b: ID) { viewer { id } }', 'query ($ a: ID!) { node(id: $ a) { id } }',
    '{ node(id: $) { id } }',
    '{ viewer { id } } fragment', '{ viewer . id }', '{ viewer .. id }', '{ viewer ... { id } }', '{ ... { viewer { id } } }',
    '{ ... @include(if: true) { viewer { id } } }',
    '{ viewer { "id" } }', '{ viewer { 1 } }', '{ 1viewer { id } }', '{ vi-ewer { id } }', '{ viewer { id? } }',
    '{ viewer { id! } }', '{ viewer & { id } }',
    '{ viewer | { id } }', '{ viewer [ id ] }', '{ projects(first: [) { totalCount } }', '{ projects(filter: {) { totalCount } }',
    '{ projects(filter: {search}) { totalCount } }', '{ projects(filter: {search:}) { totalCount } }',
    '{ projects(filter: {search "a"}) { totalCount } }',
    '{ projects(filter: {"search": "a"}) { totalCount } }', '{ projects(filter: {search: "a" isOwned: true}) { totalCount } }',
    '{ projects(filter: {search: "a",}) { totalCount } }', '{ projects(filter: (search: "a")) { totalCount } }',
    "{ projects(filter: {search: 'a'}) { totalCount } }",
    '{ nodes(ids: ["a" "b"]) { id } }', '{ nodes(ids: ["a",, "b"]) { id } }', '{ nodes(ids: [,]) { id } }',
    '{ nodes(ids: []) { id } }', 'mutation', 'mutation { }',
    'subscription', 'subscription { }', 'query query { viewer { id } }', 'query fragment { viewer { id } }',
    'query on { viewer { id } }', 'query true { viewer { id } }',
    '{ on: viewer { id } }', '{ query: viewer { id } }', '{ true: viewer { id } }', '{ null: viewer { id } }',
    '{ fragment: viewer { on: id } }',
    '{ viewer { ...true } } fragment true on User { id }', '{ viewer { ...query } } fragment query on User { id }',
    'type A { a: Int }', 'type A { a: Int } { viewer { id } }', '{ viewer { id } } extend type User { a: Int }',
    'schema { query: Query }', 'scalar A', 'enum A { B }',
    'input A { b: Int }', 'directive @a on FIELD', '{ viewer @a { id } } directive @a on FIELD', 'interface A { b: Int }',
    'union A = User', 'extend schema @a',
    '\ufeff{ viewer { id } }', '{ viewer\ufeff { id } }', '{ viewer { id } }\u0000', '{ viewer { id\u00a0} }',
    '{ viewer { \u00e9 } }', '{ viewer { id # \u0000\n } }', '# only\r{ viewer { id } }',
    '{\rviewer\r\n{\nid\t}\n}', '{ viewer { id } } # \ud83d\ude00', '{ viewer { id\u2028} }', '{ viewer { id\u000b} }',
    '{ viewer { id } }\u001a',
  );

  each(
    'descriptions',
    '"A description" query { viewer { id } }', '"A description" query A { viewer { id } }',
    `${QUOTES}A description${QUOTES} query A { viewer { id } }`,
    '"A description" { viewer { id } }', '"One" "two" query { viewer { id } }',
    '{ viewer { ...F } } "A description" fragment F on User { id }',
    'query ("A description" $a: ID!) { node(id: $a) { id } }',
    `query (${QUOTES}One${QUOTES} $a: ID = "x" "Two" $b: ID) { a: node(id: $a) { id } b: node(id: $b) { id } }`,
    'query ($a: ID! "late") { node(id: $a) { id } }', '"A" mutation { touchProject(id: "a") { revision } }',
    '"A" subscription { projectEvents(projectId: "a") { revision } }',
    '{ "A description" viewer { id } }', '{ viewer("A description" id: 1) { id } }', 'query { viewer { id } } "dangling"',
    '"A" type B { c: Int }',
    'query ("A" $a: ID = "b") { a: nodes(ids: ["c" $a]) { id } }',
    'query ($a: [ID!] = ["x" "y"] $b: ID!) { nodes(ids: $a) { id } node(id: $b) { id } }',
  );

  each(
    'numbers',
    ...['0', '-0', '1', '-1', '00', '01', '-01', '+1', '1.', '.1', '1.0', '1e0', '1E2', '1e', '1e+', '1e-1', '0x1', '0b1', '1_0', '1a', '1.0a', '1.0.0', '--1', '- 1', '2147483647',
      '2147483648', '-2147483648', '-2147483649', '99999999999999999999', '1e400', 'Infinity', 'NaN', '"1"', 'true', 'null', '[1]', '[]', '{}', '$a'].map(
      (value) => `{ projects(first: ${value}) { totalCount } }`),
    ...['1', '-1', '1.5', '1e3', '9223372036854775807', '9223372036854775808', '18446744073709551616', '-9223372036854775809', '"1"', 'true', 'null', 'A', '[1]', '{a: 1}', '-0'].map(
      (value) => `{ node(id: ${value}) { id } }`),
  );

  const strings = [
    '""', '"a"', '"\\""', '"\\\\"', '"\\/\\b\\f\\n\\r\\t"', '"\\u0041"', '"\\u00e9"', '"\\u{41}"', '"\\u{1F600}"', '"\\u{1f600}"',
    '"\\u{10FFFF}"', '"\\u{0}"',
    '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"', '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\ude00\\ud83d"', '"\\u{d83d}"',
    '"\\u{d83d}\\u{de00}"', '"\\u{110000}"', '"\\u{}"',
    '"\\u{0000041}"', '"\\u{00000041}"', '"\\u{000000041}"', '"\\u{ 41}"', '"\\u{4g}"', '"\\u41"', '"\\u004"', '"\\u004g"',
    '"\\U0041"', '"\\x41"', '"\\a"', '"\\0"', '"\\', '"\\"', '"',
    '"a', '"a\n"', '"a\r"', '"a\nb"', '"a\\\nb"', '"\t"', '"\u0000"', '"\u0001"', '"\u007f"', '"\u00e9"', '"\ud83d\ude00"',
    '"\u2028"', '"\ufeff"', '"#"', '"{"', '"""', '""""', '"a""b"', '"a" "b"',
    "'a'", '`a`', 'a"b"', '"\\u{1F600',
  ];
  const blocks = [
    '', 'a', ' a ', '\n', '\n\n', '\na\n', '\n  a\n  b\n', '\n  a\n    b\n  c\n', '\n    a\n  b\n', '  a\n  b', '\n\ta\n\tb\n',
    '\n \ta\n\t b\n', '\n  a\n\n  b\n', '\n  a\n \n  b\n',
    '\n   \n  a\n   \n', 'a\n   ', '   \na', 'a\\nb', 'a\\u0041', '\\"', '\\', ' \\\\', '\\""" a', 'x \\"""doc\\""" y', 'a "" b',
    ' "a" ', '"a', 'a"\n', '#', '{}', '\r\n a\r\n b\r\n', '\r a\r b\r',
    '\u0001', '\t', '\n\u00a0\u00a0a\n', '\u00e9', '\ud83d\ude00', '\n  a\n  b\\', '\n      deep\n    less\n\n      deep\n',
    ' \n \n ', '\n\n a\n\n\n b\n\n',
  ].map((text) => `${QUOTES}${text}${QUOTES}`).concat([`${QUOTES}`, `${QUOTES}a`, `${QUOTES}a"`, `${QUOTES}a""`, `${QUOTES}a\\${QUOTES}`, `${QUOTES}a"${QUOTES}`, `"${QUOTES}a${QUOTES}`]);
  // The response's own echo shows which string the server has read: for an unknown path, but not for an unknown status.
  strings.forEach((text) => add('strings', `{ projects(filter: {search: ${text}}) { totalCount } }`));
  blocks.forEach((text) => add('block strings', `{ projects(filter: {search: ${text}}) { totalCount } }`));

  each(
    'operations',
    'query A { viewer { id } } query B { viewer { id } }', 'query A { viewer { id } } query A { viewer { email } }',
    'query A { viewer { id } } mutation A { touchProject(id: "a") { revision } }',
    '{ viewer { id } } { viewer { id } }', '{ viewer { id } } query A { viewer { id } }',
    'query A { viewer { id } } { viewer { id } }', 'query { viewer { id } } query { viewer { id } }',
  );
  add('operations', 'query A { viewer { id } } query B { viewer { email } }', undefined, 'B');
  add('operations', 'query A { viewer { id } } query B { nope }', undefined, 'A');

  each(
    'fields',
    '{ nope }', '{ viewer { nope } }', '{ viewer { id { a } } }', '{ viewer { email { } } }', '{ viewer }',
    '{ viewer { preferences } }', '{ __typename }', '{ __typename { a } }', '{ viewer { __typename } }',
    '{ viewer { __schema { queryType { name } } } }', '{ __schema }', '{ __schema { nope } }',
    '{ __schema { queryType { name } } }', '{ __type }', '{ __type(name: "User") { name kind } }', '{ __type(name: 1) { name } }',
    '{ __type(nope: "User") { name } }', '{ __nope }', '{ viewer { __nope } }', '{ x: viewer { y: id } }',
    '{ project(id: "a") { config { a } } }', '{ project(id: "a") { status { a } } }', '{ project(id: "a") { owner } }',
    '{ node(id: "a") { name } }', '{ node(id: "a") { id } }', '{ node(id: "a") { ... on Project { name } } }',
    '{ node(id: "a") { __typename ... on Project { nope } } }', 'mutation { viewer { id } }', 'mutation { __typename }',
    'mutation { __schema { queryType { name } } }', 'query { touchProject(id: "a") { revision } }',
    'query { projectEvents(projectId: "a") { revision } }', '{ VIEWER { id } }', '{ viewer { ID } }',
    '{ projects { edges { node { name } cursor } pageInfo { hasNextPage } totalCount } }', '{ projects { edges } }',
    '{ projects { edges { node } } }', '{ projects { nodes { stats } } }',
  );

  each(
    'arguments',
    '{ viewer(a: 1) { id } }', '{ __typename(a: 1) }', '{ viewer { id(a: 1) } }',
    '{ projects(first: 1, first: 1) { totalCount } }', '{ projects(first: 1, first: 2) { totalCount } }', '{ node { id } }',
    '{ node() { id } }', '{ node(id: null) { id } }', '{ node(ID: "a") { id } }', '{ nodes { id } }',
    '{ nodes(ids: null) { id } }', '{ nodes(ids: [null]) { id } }', '{ nodes(ids: "a") { id } }', '{ nodes(ids: 5) { id } }',
    '{ nodes(ids: [["a"]]) { id } }',
    '{ projects(first: null) { totalCount } }', '{ projects(filter: null) { totalCount } }',
    '{ projects(orderBy: null) { totalCount } }', '{ projects(after: null) { totalCount } }',
    'mutation { touchProject { revision } }',
    'mutation { touchProject(id: "a", nope: 1) { revision } }', 'mutation { createProject { revision } }',
    'mutation { createProject(input: null) { revision } }', 'mutation { createProject(input: {}) { revision } }',
    '{ viewer @include(if: true, if: true) { id } }', '{ viewer @include(unless: true) { id } }',
    '{ viewer @include(if: true, unless: true) { id } }', '{ viewer @include(if: null) { id } }',
    '{ viewer @include(if: "true") { id } }', '{ viewer @include(if: 1) { id } }',
  );

  each(
    'directives',
    'query ($a: Boolean!) { __typename @include(if: $a) }', 'query ($a: Boolean!) { viewer { t: __typename @skip(if: $a) id } }',
    'query ($a: Boolean!) { ...F } fragment F on Query { __typename @include(if: $a) }',
    '{a,:__typename}', '{...,on Query{__typename}}', '{...,F} fragment,F,on,Query,{__typename}', '{,,viewer,{,id,},}',
    '{ viewer @aa { id } }', '{ __typename @aa }', '{ viewer @include(if: true) { id } }',
    '{ viewer @include(if: false) { id } }', '{ viewer { id @skip(if: true) } }',
    '{ viewer { id @skip(if: true) email @skip(if: false) } }',
    '{ viewer @include(if: true) @include(if: true) { id } }', '{ viewer @include(if: true) @skip(if: false) { id } }',
    '{ viewer @include(if: false) @skip(if: false) { id } }', '{ viewer @include(if: true) @skip(if: true) { id } }',
    '{ viewer { ... @include(if: false) { id } email } }', '{ viewer { ... on User @skip(if: true) { id } email } }',
    '{ viewer { ...F @include(if: false) email } } fragment F on User { id }',
    '{ viewer { ...F } } fragment F on User @include(if: true) { id }',
    '{ viewer { ...F } } fragment F on User @aa { id }', 'query @aa { viewer { id } }',
    'query ($a: ID! @aa) { node(id: $a) { id } }', 'query ($a: ID! @include(if: true)) { node(id: $a) { id } }',
    '{ viewer @deprecated { id } }', '{ viewer @specifiedBy(url: "a") { id } }', '{ viewer @oneOf { id } }',
    '{ viewer { id @deprecated(reason: "a") } }', '{ viewer { ... @defer { id } } }',
    '{ viewer { ...F @defer(label: "a") } } fragment F on User { id }', '{ projects { nodes @stream(initialCount: 1) { id } } }',
    '{ viewer @Include(if: true) { id } }', '{ viewer { id @skip(if: $a) } }',
    '{ ...F @skip(if: false) } fragment F on Query { viewer { id } }',
    '{ viewer { id } ... on Query @include(if: true) { viewer { email } } }',
  );

  each(
    'fragments',
    '{ ...F } fragment F on Query { viewer { id } }', '{ ...F }', '{ ...F ...F } fragment F on Query { viewer { id } }',
    '{ viewer { ...F ...G } } fragment F on User { id } fragment G on User { email }',
    '{ viewer { id } } fragment F on User { id }',
    '{ viewer { ...F } } fragment F on User { ...F }',
    '{ viewer { ...F } } fragment F on User { id ...G } fragment G on User { email ...F }',
    '{ viewer { ...F } } fragment F on User { id } fragment F on User { email }', '{ viewer { ...F } } fragment F on Nope { id }',
    '{ viewer { ...F } } fragment F on Project { id }', '{ viewer { ...F } } fragment F on Node { id }',
    '{ viewer { ...F } } fragment F on String { id }', '{ viewer { ...F } } fragment F on ProjectStatus { id }',
    '{ viewer { ...F } } fragment F on ProjectFilter { search }',
    '{ viewer { ... on Nope { id } } }', '{ viewer { ... on Project { id } } }', '{ viewer { ... on Node { id } } }',
    '{ viewer { ... on Node { email } } }', '{ viewer { ... on ID { id } } }', '{ viewer { ... on Moment { revision } } }',
    '{ node(id: "a") { ... on Node { ... on User { ... on Node { id } } } } }',
    '{ node(id: "a") { ... on Query { viewer { id } } } }', '{ node(id: "a") { ... on ProjectStats { fileCount } } }',
    '{ ... on Query { ... on Query { viewer { id } } } }', '{ ... on Mutation { touchProject(id: "a") { revision } } }',
    '{ viewer { ...F } } fragment F on User { ...G } fragment G on User { id }',
    '{ viewer { ...F } } fragment F on User { ...G }', 'fragment F on User { id } query { viewer { ...F } }',
    '{ viewer { x: id ...F } } fragment F on User { x: email }',
    'query A { ...F } query B { viewer { id } } fragment F on Query { __typename }',
    '{ viewer { ...F @include(if: $a) } } fragment F on User { id }',
  );

  const pair = (one, two) => `{ viewer { ${one} ${two} } }`;
  const past = (one, two) => `{ project(id: "${ids.project}") { ${one} ${two} } }`;
  each(
    'merging',
    pair('id', 'id'), pair('a: id', 'a: id'), pair('a: id', 'a: email'), pair('id', 'id: email'), pair('id: email', 'id'),
    pair('a: id', '... { a: email }'), pair('preferences { theme: __typename }', 'preferences { theme: editorTheme }'),
    pair('preferences { __typename }', 'preferences { editorTheme }'),
    pair('createdAt', 'createdAt: updatedAt'), '{ a: viewer { id } a: viewer { email } }',
    '{ a: viewer { id } a: projects { totalCount } }',
    '{ a: projects(first: 1) { totalCount } a: projects(first: 1) { totalCount } }',
    '{ a: projects(first: 1) { totalCount } a: projects(first: 2) { totalCount } }',
    '{ a: projects(first: 1) { totalCount } a: projects { totalCount } }',
    '{ a: projects(first: 1, after: null) { totalCount } a: projects(after: null, first: 1) { totalCount } }',
    '{ nodes(ids: ["a"]) { id } nodes(ids: ["a", "b"]) { id } }', '{ nodes(ids: ["a", "b"]) { id } nodes(ids: ["a"]) { id } }',
    '{ nodes(ids: ["a"]) { id } nodes(ids: ["a"]) { id } }',
    '{ nodes(ids: []) { id } nodes(ids: ["a"]) { id } }', '{ nodes(ids: "a") { id } nodes(ids: ["a"]) { id } }',
    '{ node(id: "a") { id } node(id: """a""") { id } }', '{ node(id: """a""") { id } node(id: """a""") { id } }',
    '{ node(id: 1) { id } node(id: "1") { id } }', '{ node(id: "\\u0061") { id } node(id: "a") { id } }',
    '{ projects(filter: {search: "a", isOwned: true}) { totalCount } projects(filter: {isOwned: true, search: "a"}) { totalCount } }',
    '{ projects(filter: {search: "a"}) { totalCount } projects(filter: {search: "b"}) { totalCount } }',
    '{ projects(filter: {search: "a"}) { totalCount } projects(filter: {search: "a", isOwned: null}) { totalCount } }',
    'query ($a: Int, $b: Int) { projects(first: $a) { totalCount } projects(first: $b) { totalCount } }',
    'query ($a: Int) { projects(first: $a) { totalCount } projects(first: $a) { totalCount } }',
    'query ($a: Int = 1) { projects(first: $a) { totalCount } projects(first: 1) { totalCount } }',
    '{ node(id: "a") { ... on User { x: email } ... on Project { x: name } } }',
    '{ node(id: "a") { ... on User { x: email } ... on Project { x: config } } }',
    '{ node(id: "a") { ... on User { x: id } ... on Project { x: name } } }',
    '{ node(id: "a") { ... on User { x: id } ... on Project { x: revision } } }',
    '{ node(id: "a") { ... on Project { x: files(first: 1) { totalCount } } ... on ProjectSnapshot { x: files(first: 2) { totalCount } } } }',
    '{ node(id: "a") { x: id ... on Project { x: name } } }', '{ node(id: "a") { id ... on Project { id: name } } }',
    '{ node(id: "a") { ... on Node { x: id } ... on Project { x: name } } }',
    '{ node(id: "a") { ... on User { x: preferences { y: editorTheme } } ... on Project { x: stats { y: fileCount } } } }',
    '{ node(id: "a") { ... on User { x: fullName } ... on Project { x: owner { id } } } }',
    '{ node(id: "a") { ... on Project { x: collaborators { role } } ... on ProjectFile { x: project { id } } } }',
    past('files(first: 1) { nodes { id } }', 'files(first: 1) { totalCount }'),
    past('files(first: 1) { nodes { path } }', 'files(first: 2) { nodes { path } }'),
    past('file(path: "a") { x: path }', 'file(path: "a") { x: version }'),
    past('file(path: "a") { path }', 'file(path: "b") { path }'),
    past('x: file(path: "a") { path }', 'y: file(path: "b") { path }'),
    past('diff(from: 1) { newPath: path }', 'diff(from: 1, to: 2) { path }'),
    '{ ...F ...G } fragment F on Query { a: viewer { id } } fragment G on Query { a: viewer { email } }',
    '{ ...F ...G } fragment F on Query { a: viewer { x: id } } fragment G on Query { a: viewer { x: email } }',
    '{ ...F a: node(id: "b") { id } } fragment F on Query { a: node(id: "a") { id } }',
  );

  each(
    'enums and input objects',
    ...['ACTIVE', '"ACTIVE"', 'active', 'Active', 'NOPE', '1', 'true', 'null', '[ACTIVE]', '{}', '{a: ACTIVE}', '$a'].map((value) => `{ projects(filter: {status: ${value}}) { totalCount } }`),
    ...['{field: NAME}', '{field: NAME, direction: ASC}', '{direction: ASC}', '{}', '{field: null}', '{field: NAME, direction: null}', '{field: NAME, field: NAME}', '{field: NAME, nope: 1}', '{field: "NAME"}', 'NAME', '"NAME"', '[]', '[{field: NAME}]', '5', 'null'].map(
      (value) => `{ projects(orderBy: ${value}) { totalCount } }`),
    ...['{}', '[]', '[{}]', '"a"', '5', 'true', 'A', '{search: "a"}', '{search: 5}', '{search: true}', '{search: A}', '{search: ["a"]}', '{search: {a: 1}}', '{search: null}', '{isOwned: "true"}', '{isOwned: 1}', '{isOwned: null}', '{search: "a", search: "b"}', '{nope: 1}', '{search: "a" nope: $a}'].map(
      (value) => `{ projects(filter: ${value}) { totalCount } }`),
    ...['{revision: 1}', '{revision: 1, messageId: "a"}', '{}', '{revision: null}', '{revision: 1, messageId: null}', '{revision: "1"}', '{revision: 1.5}', '{nope: 1}', '{messageId: 5}', '[]', 'null', '5'].map(
      (value) => `{ project(id: "${ids.project}", at: ${value}) { id } }`),
    `{ project(id: "${ids.project}") { restorePreview(to: {revision: 1, messageId: "a"}) { __typename } } }`,
    `{ project(id: "${ids.project}") { restorePreview(to: null) { __typename } } }`,
  );
  const config = (value) => `mutation { updateProject(input: {id: "nope", config: ${value}}) { revision } }`;
  each('custom scalars', ...['{}', '[]', '5', '1.5', '"a"', 'true', 'null', 'A', '{a: {b: [1, {c: null}]}}', '{a: 1, a: 2}', '[1, [2, "3"], {a: B}]', '{a: $a}', '[$a]', '$a', '{"a": 1}', '{a: 1e5}', '-5'].map(config));
  for (const type of ['JSON', 'JSON!', 'Int', 'String', '[JSON]', '[Int]', 'ProjectFilter', 'ID!']) {
    for (const value of ['$a', '{x: $a}', '[$a]', '[[$a]]', '{x: [$a]}', '[{x: $a}]']) {
      add('custom scalars', `mutation ($a: ${type}) { updateProject(input: {id: "nope", config: ${value}}) { revision } }`, type.endsWith('!') ? { a: 'x' } : {});
    }
  }

  each(
    'variables',
    'query ($a: ID) { node(id: $a) { id } }', 'query ($a: ID!) { viewer { id } }',
    'query ($a: ID!, $a: ID!) { node(id: $a) { id } }', '{ node(id: $a) { id } }',
    'query A { node(id: $a) { id } } query B($a: ID!) { node(id: $a) { id } }', 'query ($a: Nope) { node(id: $a) { id } }',
    'query ($a: User) { node(id: $a) { id } }',
    'query ($a: Node!) { node(id: $a) { id } }', 'query ($a: [User!]!) { nodes(ids: $a) { id } }',
    'query ($a: Int = "x") { projects(first: $a) { totalCount } }',
    'query ($a: Int = 1.5) { projects(first: $a) { totalCount } }', 'query ($a: Int = 1) { projects(first: $a) { totalCount } }',
    'query ($a: Int! = 1) { projects(first: $a) { totalCount } }',
    'query ($a: Int! = null) { projects(first: $a) { totalCount } }',
    'query ($a: Int = null) { projects(first: $a) { totalCount } }', 'query ($a: ID = null) { node(id: $a) { id } }',
    'query ($a: ID = "x") { node(id: $a) { id } }', 'query ($a: [ID!] = ["x"]) { nodes(ids: $a) { id } }',
    'query ($a: [ID!] = "x") { nodes(ids: $a) { id } }', 'query ($a: [ID] = ["x"]) { nodes(ids: $a) { id } }',
    'query ($a: [ID!] = [null]) { nodes(ids: $a) { id } }', 'query ($a: [ID!] = null) { nodes(ids: $a) { id } }',
    'query ($a: ProjectFilter = {search: "x"}) { projects(filter: $a) { totalCount } }',
    'query ($a: ProjectFilter = {nope: 1}) { projects(filter: $a) { totalCount } }',
    'query ($a: ProjectFilter = {search: "a", search: "b"}) { projects(filter: $a) { totalCount } }',
    'query ($a: ProjectOrder = {direction: ASC}) { projects(orderBy: $a) { totalCount } }',
    'query ($a: ProjectStatus = ACTIVE) { projects(filter: {status: $a}) { totalCount } }',
    'query ($a: ProjectStatus = "ACTIVE") { projects(filter: {status: $a}) { totalCount } }',
    'query ($a: Moment = {revision: 1}) { project(id: "a", at: $a) { id } }',
    'query ($a: Moment = {}) { project(id: "a", at: $a) { id } }',
    'query ($a: Moment = {revision: 1, messageId: "a"}) { project(id: "a", at: $a) { id } }',
    'query ($a: Moment = {revision: null}) { project(id: "a", at: $a) { id } }',
    'query ($b: Boolean = true) { viewer { id @include(if: $b) email } }',
    'query ($b: Boolean = false) { viewer { id @include(if: $b) email } }',
    'query ($b: Boolean = true) { viewer { id @skip(if: $b) email } }',
    'query ($b: Boolean) { viewer { id @include(if: $b) email } }',
    'query ($b: Boolean = null) { viewer { id @include(if: $b) email } }',
    'query ($b: Boolean! = true) { viewer { id @include(if: $b) email } }',
    'query ($a: ID!) { ...F } fragment F on Query { node(id: $a) { id } }',
    'query ($a: ID) { ...F } fragment F on Query { node(id: $a) { id } }', '{ ...F } fragment F on Query { node(id: $a) { id } }',
    'query A($a: ID!) { ...F } query B { ...F } fragment F on Query { node(id: $a) { id } }',
    'query ($a: Boolean!) { ...F } fragment F on Query { viewer { ...G @include(if: $a) } } fragment G on User { id }',
    'query ($a: ID!) { viewer { ...F } } fragment F on User { id }', 'query ($a: Boolean!) { viewer @include(if: $a) { id } }',
    'query ($a: String!) { viewer @include(if: $a) { id } }',
    'query ($a: Boolean!, $b: Boolean!) { viewer @include(if: $a) @skip(if: $b) { id } }',
    'query ($a: Int) { project(id: "a", at: {revision: $a}) { id } }',
    'query ($a: Int!) { project(id: "a", at: {revision: $a}) { id } }',
    'query ($a: Int = 1) { project(id: "a", at: {revision: $a}) { id } }',
    'query ($a: Int! = 1) { project(id: "a", at: {revision: $a}) { id } }',
    'query ($a: Int!, $b: ID) { project(id: "a", at: {revision: $a, messageId: $b}) { id } }',
    'query ($a: ID! @include(if: $b), $b: Boolean!) { node(id: $a) @include(if: $b) { id } }',
    'query ($a: ID! = "a") { node(id: $a) { id } }', 'query ($__a: ID!) { node(id: $__a) { id } }',
    'query ($on: ID!) { node(id: $on) { id } }', 'query ($true: ID!) { node(id: $true) { id } }',
    'query ($a: id!) { node(id: $a) { id } }',
  );
  // A variable of every type in every place.
  const types = ['ID', 'ID!', 'String', 'String!', 'Int', 'Int!', 'Boolean', 'Boolean!', '[ID]', '[ID!]', '[ID]!', '[ID!]!', '[[ID!]!]!', 'ProjectFilter', 'ProjectStatus', 'ProjectStatus!', 'JSON', 'DateTime'];
  const places = [
    '{ node(id: $a) { id } }', '{ nodes(ids: $a) { id } }', '{ nodes(ids: [$a]) { id } }',
    '{ projects(first: $a) { totalCount } }', '{ projects(filter: $a) { totalCount } }',
    '{ projects(filter: {search: $a}) { totalCount } }',
    '{ projects(filter: {status: $a}) { totalCount } }', '{ projects(filter: {createdAfter: $a}) { totalCount } }',
    '{ viewer { id @include(if: $a) } }',
  ];
  for (const type of types) for (const place of places) add('positions', `query ($a: ${type}) ${place}`, {});

  const values = (type, place, ...given) => given.forEach((value) => add('coercion', `query ($a: ${type}) { ${place} }`, value === undefined ? {} : { a: value }));
  values('Int', 'projects(first: $a) { totalCount }', undefined, null, 0, 1, -1, 1.5, '1', true, [], [1], {}, 2147483647, 2147483648, -2147483648, -2147483649, 1e10, 1e100);
  values('Int!', 'projects(first: $a) { totalCount }', undefined, null, 1, '1');
  values('ID!', 'node(id: $a) { id }', undefined, null, 'a', '', 1, -1, 0, 1.5, true, [], ['a'], {}, 9007199254740991, 1e20, 123456789012345680000);
  values('String', 'projects(filter: {search: $a}) { totalCount }', undefined, null, 'a', '', 1, true, [], ['a'], {}, { a: 1 });
  values('Boolean', 'projects(filter: {isOwned: $a}) { totalCount }', undefined, null, true, false, 0, 1, 'true', [], [true], {});
  values('Boolean!', 'viewer { id @include(if: $a) }', undefined, null, true, false, 'true', 1);
  values('ProjectStatus', 'projects(filter: {status: $a}) { totalCount }', undefined, null, 'ACTIVE', 'active', 'NOPE', '', 1, true, ['ACTIVE'], {});
  values('[ID!]!', 'nodes(ids: $a) { id }', undefined, null, [], ['a'], 'a', 5, ['a', 5], [null], ['a', null], [['a']], {}, true, [true], [1.5]);
  values('ProjectFilter', 'projects(filter: $a) { totalCount }', undefined, null, {}, [], [{}], 'x', '', 5, true, { search: 'a' }, { search: 5 }, { search: null }, { search: ['a'] }, { nope: 1 }, { search: 'a', nope: null }, { status: 'ACTIVE' }, { status: 'NOPE' }, { isOwned: true }, { isOwned: 'true' }, { isOwned: 1 });
  values('ProjectOrder', 'projects(orderBy: $a) { totalCount }', undefined, null, {}, { field: 'NAME' }, { field: null }, { direction: 'ASC' }, { field: 'NAME', direction: 'ASC' }, { field: 'NAME', direction: null }, { field: 'NAME', direction: 'UP' }, { field: ['NAME'] }, 'NAME');
  values('Moment', `project(id: "${ids.project}", at: $a) { id }`, undefined, null, {}, { revision: 1 }, { revision: 1.5 }, { revision: '1' }, { revision: null }, { revision: 1, messageId: 'a' }, { revision: 1, messageId: null }, { messageId: 5 }, { nope: 1 }, [], 'x');
  const sync = 'mutation ($a: SyncFilesInput!) { syncFiles(input: $a) { revision } }';
  for (const value of [undefined, null, {}, [], 'x', { projectId: 'nope' }, { projectId: 'nope', files: [] }, { projectId: 'nope', files: {} }, { projectId: 'nope', files: [{}] }, { projectId: 'nope', files: [{ path: 'a', content: 'b' }] }, { projectId: 'nope', files: { path: 'a' } },
    { projectId: 'nope', files: [{ path: 'a', nope: 1 }] }, { projectId: 'nope', files: [{ path: 5 }] },
    { projectId: 'nope', files: [null] }, { projectId: 'nope', files: null }, { projectId: 'nope', files: [], mode: 'MERGE' },
    { projectId: 'nope', files: [], mode: 'merge' }, { projectId: 'nope', files: [], deletes: 'a' },
    { projectId: 'nope', files: [], deletes: ['a', 5] },
    { projectId: null, files: [] }, { projectId: 5, files: [] }, { projectId: 'nope', files: [], expectedRevision: 1.5 }, { projectId: 'nope', files: [{ path: 'a', type: 'FILE' }, { path: 'b', type: 'X' }] }]) {
    add('coercion', sync, value === undefined ? {} : { a: value });
  }
  // Numbers in the notations of JSON, which JavaScript's own serializer does not use.
  for (const [type, place] of [['Int', 'projects(first: $a) { totalCount }'], ['ID!', 'node(id: $a) { id }']]) {
    for (const text of ['1.0', '1e0', '1E2', '1e2', '-0', '-0.0', '10.50', '1e-1', '100e-2', '12345678901234567890', '1e400'])
      all.push({ kind: 'coercion', document: `query ($a: ${type}) { ${place} }`, json: `{"a":${text}}` });
  }

  each(
    'subscriptions',
    `subscription { projectEvents(projectId: "${ids.project}", ready: true) { revision } }`,
    `subscription { a: projectEvents(projectId: "${ids.project}", ready: true) { revision } a: projectEvents(projectId: "${ids.project}", ready: true) { kind } }`,
    `subscription { ...F } fragment F on Subscription { projectEvents(projectId: "${ids.project}", ready: true) { revision } }`,
    `subscription { ... { projectEvents(projectId: "${ids.project}", ready: true) { revision } } }`,
    `subscription { ... on Subscription { projectEvents(projectId: "${ids.project}", ready: true) { revision } ...F } } fragment F on Subscription { projectEvents(projectId: "${ids.project}", ready: true) { kind } }`,
    `subscription { projectEvents(projectId: "${ids.project}", ready: true) @include(if: true) { revision } }`,
    `subscription { projectEvents(projectId: "${ids.project}", ready: true) { revision @skip(if: true) kind } }`,
    'subscription { __typename }', 'subscription { __schema { queryType { name } } }',
    'subscription { projectEvents(projectId: "a") { revision } __typename }',
    'subscription { a: projectEvents(projectId: "a") { revision } b: projectEvents(projectId: "a") { revision } }',
    'subscription { projectEvents(projectId: "a") { revision } codeChanged(projectId: "a") { revision } }',
    'subscription { ...F } fragment F on Subscription { projectEvents(projectId: "a") { revision } codeChanged(projectId: "a") { revision } }',
    'subscription { a: projectEvents(projectId: "a") { revision } a: projectEvents(projectId: "b") { revision } }',
    'subscription ($b: Boolean!) { projectEvents(projectId: "a") @include(if: $b) { revision } }',
    'subscription ($b: Boolean = true) { ... @skip(if: $b) { projectEvents(projectId: "a") { revision } } }',
    'subscription { viewer { id } }', 'subscription { projectEvents { revision } }',
    'subscription { projectEvents(projectId: "a") }', 'subscription { projectEvents(projectId: "a", kinds: FILE) { revision } }',
    'subscription { projectEvents(projectId: "a", ready: null) { revision } }',
  );
  add('subscriptions', 'subscription ($r: Boolean) { projectEvents(projectId: "nope", ready: $r) { revision } }', {});
  add('subscriptions', 'subscription ($r: Boolean = true, $p: ID!) { projectEvents(projectId: $p, ready: $r) { revision __typename } }', { p: ids.project });
  add('subscriptions', 'subscription ($p: ID!) { projectEvents(projectId: $p, ready: true) { revision } }', {});

  each(
    'answers',
    `{ project(id: "${ids.project}") { id name owner { id fullName } stats { totalFiles } files(first: 2) { nodes { path version project { name } } edges { cursor node { id } } pageInfo { hasNextPage endCursor } totalCount } } }`,
    `{ b: viewer { id } a: viewer { email } project(id: "${ids.project}") { z: name a: id m: name } }`,
    `{ project(id: "${ids.project}") { ...F id } viewer { id ...G } } fragment F on Project { name id } fragment G on User { email id fullName }`,
    `{ node(id: "${ids.project}") { __typename id ... on Project { name } ... on User { email } } }`,
    `{ nodes(ids: ["${ids.project}", "${ids.session}"]) { __typename id ... on Project { name } ... on ChatSession { startedAt project { id } } } }`,
    `{ project(id: "${ids.project}") { files { nodes { ... on Node { __typename id } ...F } } } } fragment F on ProjectFile { path ... { version } }`,
    `{ project(id: "${ids.project}") { name ... @skip(if: true) { id } ... @include(if: true) { revision } config } }`,
    `{ project(id: "${ids.project}") { a: files(first: 1) { nodes { path } } b: files(first: 1) { nodes { id } } a: files(first: 1) { nodes { id version } totalCount } } }`,
    '{ __type(name: "Node") { name interfaces { name } again: interfaces { kind } } }',
    '{ __type(name: "Project") { name kind fields { name args { name } type { name kind ofType { name } } } interfaces { name } } }',
    '{ __type(name: "Moment") { name isOneOf inputFields { name type { name kind ofType { name } } defaultValue } } }',
    '{ __schema { directives { name locations args { name } isRepeatable } } }', '{ __type(name: "Nope") { name } }',
    '{ a: __typename b: __typename viewer { __typename } }',
  );
  add('answers', 'query ($n: Int, $f: ProjectFilter, $s: String) { projects(first: $n, filter: $f) { totalCount } b: projects(filter: {search: $s}) { totalCount } }', {});
  add('answers', 'query ($i: Boolean!, $s: Boolean = false) { viewer { id @include(if: $i) email @skip(if: $s) ...F @include(if: $i) } } fragment F on User { fullName }', { i: false });
  return all;
}

/** Random valid documents over a schema: `graphql` describes the types, and `random` selects from them. */
export function randomDocument(graphql, schema, random) {
  const fragments = [];
  const pick = (list) => list[Math.floor(random() * list.length)];
  const isOptional = ({ type, defaultValue }) => !graphql.isNonNullType(type) || defaultValue !== undefined;
  const fieldsOf = (type) => Object.values(type.getFields?.() ?? {}).filter((field) => field.args.every(isOptional));
  const conditions = () => (random() < 0.1 ? ` @${pick(['include', 'skip'])}(if: ${pick(['true', 'false'])})` : '');
  let aliases = 0;
  const selections = (type, depth) => {
    const isAbstract = graphql.isAbstractType(type);
    // The executor needs to know the type of an object.
    const chosen = isAbstract ? ['__typename'] : [];
    for (let count = 1 + Math.floor(random() * 4); count > 0; count -= 1) {
      const kind = random();
      if (kind < 0.1 && depth > 0) {
        chosen.push(`...${conditions()} { ${selections(type, depth - 1)} }`);
      } else if (kind < 0.2 && depth > 0) {
        const name = `F${fragments.length}`;
        fragments.push('');
        fragments[Number(name.slice(1))] = `fragment ${name} on ${type.name} { ${selections(type, depth - 1)} }`;
        chosen.push(`...${name}${conditions()}`);
      } else if (kind < 0.3 && isAbstract && depth > 0) {
        const possible = pick(schema.getPossibleTypes(type));
        chosen.push(`... on ${possible.name} { ${selections(possible, depth - 1)} }`);
      } else {
        const fields = fieldsOf(type).filter((field) => depth > 0 || graphql.isLeafType(graphql.getNamedType(field.type)));
        if (fields.length === 0) {
          chosen.push('__typename');
          continue;
        }
        const field = pick(fields);
        const inner = graphql.getNamedType(field.type);
        const alias = random() < 0.3 ? `a${(aliases += 1)}: ` : '';
        const below = graphql.isLeafType(inner) ? '' : ` { ${selections(inner, depth - 1)} }`;
        chosen.push(`${alias}${field.name}${conditions()}${below}`);
      }
    }
    return chosen.join(' ');
  };
  const root = selections(schema.getQueryType(), 4);
  return `{ ${root} } ${fragments.join(' ')}`;
}
