import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

// What the application is built with is installed two folders above it.
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

// The types are checked by tsc, with the options of tsconfig.json.
export default { turbopack: { root }, outputFileTracingRoot: root, typescript: { ignoreBuildErrors: true } };
