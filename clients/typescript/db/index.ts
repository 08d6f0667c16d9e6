// The original service's `db`, over GraphQL: the same class, calls, arguments and rows, and listening besides. A call that fails
// throws an `AntiphonError`.
export { connect, type QueryOptions, type Settings, type TypedDocument } from './client.js';
export { AntiphonError, type Connection, type Problem } from './connection.js';
export type { ListenerOptions, LiveOptions, LiveRevisionOptions } from './live.js';
export { DatabaseService, db } from './service.js';
export type * from './types.js';
