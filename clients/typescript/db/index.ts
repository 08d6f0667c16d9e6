// The original service's `db`, over GraphQL: the same class, calls, arguments and rows. A call that fails throws an
// `AntiphonError`.
export { AntiphonError, type Connection } from './connection.js';
export { connect, DatabaseService, db } from './service.js';
export type * from './types.js';
