// The texts of the package's operations. Those that most pages do not need are loaded when they are first used.
import { refuse } from './connection.js';
import { texts as always } from './operations-texts.js';

/** Operations and fragments by their names. */
export type Texts = Record<string, string>;

/** An operation's text with the fragments that it spreads. */
export function textOf(name: string, more: Texts = {}): string {
  const texts: Texts = { ...always, ...more };
  if (!texts[name]) throw refuse('operation', `There is no operation ${name}.`);
  const used = new Set([name]);
  for (const each of used) {
    for (const [, spread] of texts[each]!.matchAll(/\.{3}(\w+)/g)) if (texts[spread!]) used.add(spread!);
  }
  return [...used].map((each) => texts[each]).join('');
}
