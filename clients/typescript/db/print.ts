// The text of a parsed document, for the tools that keep no text.
import { refuse } from './connection.js';

/** A node of a document as every parser makes it. */
interface Node {
  kind: string;
  [key: string]: any;
}

const each = (nodes: readonly Node[] | undefined, between = ' ') => (nodes ?? []).map(print).join(between);
const list = (nodes: readonly Node[] | undefined) => (nodes?.length ? `(${each(nodes)})` : '');
const optional = (before: string, node: Node | undefined) => (node ? before + print(node) : '');

const PRINTERS: Record<string, (node: Node) => string> = {
  Name: ({ value }) => value,
  Document: ({ definitions }) => each(definitions),
  OperationDefinition: ({ operation, name, variableDefinitions, directives, selectionSet }) =>
    `${operation}${optional(' ', name)}${list(variableDefinitions)}${each(directives)}${print(selectionSet)}`,
  VariableDefinition: ({ variable, type, defaultValue, directives }) =>
    `${print(variable)}:${print(type)}${optional('=', defaultValue)}${each(directives)}`,
  SelectionSet: ({ selections }) => `{${each(selections)}}`,
  Field: ({ alias, name, arguments: values, directives, selectionSet }) =>
    `${alias ? `${print(alias)}:` : ''}${print(name)}${list(values)}${each(directives)}${optional('', selectionSet)}`,
  Argument: ({ name, value }) => `${print(name)}:${print(value)}`,
  FragmentSpread: ({ name, directives }) => `...${print(name)}${each(directives)}`,
  InlineFragment: ({ typeCondition, directives, selectionSet }) =>
    `...${optional('on ', typeCondition)}${each(directives)}${print(selectionSet)}`,
  FragmentDefinition: ({ name, typeCondition, directives, selectionSet }) =>
    `fragment ${print(name)} on ${print(typeCondition)}${each(directives)}${print(selectionSet)}`,
  Directive: ({ name, arguments: values }) => `@${print(name)}${list(values)}`,
  Variable: ({ name }) => `$${print(name)}`,
  StringValue: ({ value }) => JSON.stringify(value),
  BooleanValue: ({ value }) => String(value),
  NullValue: () => 'null',
  ListValue: ({ values }) => `[${each(values)}]`,
  ObjectValue: ({ fields }) => `{${each(fields)}}`,
  ObjectField: ({ name, value }) => `${print(name)}:${print(value)}`,
  NamedType: ({ name }) => print(name),
  ListType: ({ type }) => `[${print(type)}]`,
  NonNullType: ({ type }) => `${print(type)}!`,
};

/** The text of a document, which may be anything. */
export function textOfDocument(document: unknown): string {
  try {
    if ((document as Node).kind === 'Document') return print(document as Node);
  } catch {
    // Refused like anything else that is no document.
  }
  throw refuse('document', 'The document is neither a text nor a parsed document.');
}

export function print(node: Node): string {
  // Numbers and enum values are as they were written.
  const printer = PRINTERS[node.kind] ?? ((each: Node) => each.value);
  return printer(node);
}
