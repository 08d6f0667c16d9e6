// The hooks' tests once more, with React 18 in place of 19.
import Module, { register } from 'node:module';

const { _resolveFilename: resolve } = Module;
const NAMES = /^(react|react-dom)(?=$|\/)/;
Module._resolveFilename = (name, ...rest) => resolve(name.replace(NAMES, '$1-18'), ...rest);
const hook = `export const resolve = (name, context, next) => next(name.replace(${NAMES}, '$1-18'), context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const { version } = await import('react');
if (!version.startsWith('18.')) throw new Error(`React ${version}`);
await import('./react.test.mjs');
