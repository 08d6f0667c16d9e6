//! Converts the tree of `apollo-compiler` to the document that `async-graphql` executes, token by token. A document
//! whose tokens differ from its tree's is invalid, because the parser drops what it cannot read (`{ a(first true) { b }
//! }`).

use std::collections::{HashMap, HashSet};

use apollo_compiler::{Node, ast};
use async_graphql::{
    Name, Pos, Positioned,
    indexmap::IndexMap,
    parser::types::{
        BaseType, Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition, FragmentSpread,
        InlineFragment, OperationDefinition, OperationType, Selection, SelectionSet, Type, TypeCondition,
        VariableDefinition,
    },
};
use async_graphql_value::Value;
use serde_json::Number;

use super::{
    Fault,
    lexer::{Kind, Token},
};

type Converted<T> = Result<T, Fault>;

/// Blanks what has no effect and the parser does not know: commas in some places, and descriptions of operations,
/// fragments and variables. Offsets stay the same.
pub fn plain(text: &str, tokens: &[Token<'_>]) -> Option<String> {
    let mut plain: Option<Vec<u8>> = None;
    let mut blank = |start: usize, end: usize, is_blank: &dyn Fn(u8) -> bool| {
        let plain = plain.get_or_insert_with(|| text.as_bytes().to_vec());
        for byte in plain.get_mut(start..end).into_iter().flatten().filter(|byte| is_blank(**byte)) {
            *byte = b' ';
        }
    };
    let mut end = 0;
    for (at, token) in tokens.iter().enumerate() {
        if text.as_bytes().get(end..token.start).is_some_and(|between| between.contains(&b',')) {
            blank(end, token.start, &|byte| byte == b',');
        }
        end = token.start + token.text.len();
        if token.is_string() && is_description(tokens, at) {
            blank(token.start, end, &|_| true);
        }
    }
    plain.and_then(|plain| String::from_utf8(plain).ok())
}

/// Whether a string describes an operation, a fragment or a variable.
fn is_description(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    let after = |ahead: usize, text: &str| tokens.get(at + ahead).is_some_and(|token| token.is(text));
    let of_variable = after(1, "$") && after(3, ":") && !before.is_some_and(|before| before.is("="));
    let of_definition = ["query", "mutation", "subscription", "fragment"].iter().any(|keyword| after(1, keyword))
        && before.is_none_or(|before| before.is("}"));
    of_variable || of_definition
}

/// Converts a tree. Integers at the offsets in `long_ids` become strings.
///
/// # Errors
/// A syntax error if the tokens differ from the tree's; a violation if the executed document cannot represent the tree.
pub fn convert(tree: &ast::Document, tokens: &[Token<'_>], long_ids: &HashSet<usize>) -> Converted<ExecutableDocument> {
    let end = tokens.last().map_or(Pos { line: 1, column: 1 }, |last| Pos {
        column: last.pos.column + last.text.encode_utf16().count(),
        ..last.pos
    });
    let mut converter = Converter { tokens, at: 0, end, long_ids, violation: None };
    let mut anonymous = None;
    let mut operations = HashMap::new();
    let mut fragments = HashMap::new();
    for definition in &tree.definitions {
        converter.skip_description(&["query", "mutation", "subscription", "fragment"]);
        let pos = converter.pos();
        match definition {
            ast::Definition::OperationDefinition(operation) => {
                let (name, operation) = converter.operation(operation)?;
                let operation = Positioned::new(operation, pos);
                let is_alone = anonymous.is_none() && (name.is_some() || operations.is_empty());
                let is_new = match name {
                    Some(name) => operations.insert(name, operation).is_none(),
                    None => {
                        anonymous = Some(operation);
                        true
                    }
                };
                if !is_alone {
                    converter.violate(pos, "An operation without a name must be the only one of the document.");
                }
                if !is_new {
                    converter.violate(pos, "Two operations of the document have this name.");
                }
            }
            ast::Definition::FragmentDefinition(fragment) => {
                let (name, fragment) = converter.fragment(fragment)?;
                if fragments.insert(name, Positioned::new(fragment, pos)).is_some() {
                    converter.violate(pos, "Two fragments of the document have this name.");
                }
            }
            _ => {
                return Err(Fault::invalid(
                    pos,
                    "A request can contain operations and fragments, but no type definitions.",
                ));
            }
        }
    }
    if let Some(token) = converter.next() {
        return Err(unexpected(token));
    }
    if let Some(violation) = converter.violation {
        return Err(violation);
    }
    let operations = match anonymous {
        Some(operation) => DocumentOperations::Single(operation),
        None if operations.is_empty() && fragments.is_empty() => {
            return Err(Fault::syntax(end, "expected an operation"));
        }
        None if operations.is_empty() => return Err(Fault::invalid(end, "The document has no operation.")),
        None => DocumentOperations::Multiple(operations),
    };
    Ok(ExecutableDocument { operations, fragments })
}

fn unexpected(token: &Token<'_>) -> Fault {
    let shown: String = token.text.chars().take(40).collect();
    Fault::syntax(token.pos, &format!("unexpected `{shown}`"))
}

struct Converter<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    /// The end of the document.
    end: Pos,
    long_ids: &'t HashSet<usize>,
    /// The first violation in a document with valid syntax.
    violation: Option<Fault>,
}

impl<'t> Converter<'t> {
    fn violate(&mut self, pos: Pos, message: impl Into<String>) {
        self.violation.get_or_insert_with(|| Fault::invalid(pos, message));
    }

    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'t Token<'t>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn pos(&self) -> Pos {
        self.peek().map_or(self.end, |token| token.pos)
    }

    /// Takes the next token, which must be the one that the tree has here.
    fn take(&mut self, is_it: impl FnOnce(&Token<'_>) -> bool) -> Converted<&'t Token<'t>> {
        match self.next() {
            Some(token) if is_it(token) => Ok(token),
            Some(token) => Err(unexpected(token)),
            None => Err(Fault::syntax(self.end, "unexpected end of the document")),
        }
    }

    fn punctuator(&mut self, text: &str) -> Converted<Pos> {
        self.take(|token| token.kind == Kind::Punctuator && token.text == text).map(|token| token.pos)
    }

    fn keyword(&mut self, text: &str) -> Converted<Pos> {
        self.take(|token| token.kind == Kind::Name && token.text == text).map(|token| token.pos)
    }

    fn name(&mut self, name: &str) -> Converted<Positioned<Name>> {
        let pos = self.keyword(name)?;
        Ok(Positioned::new(Name::new(name), pos))
    }

    /// A fragment can have any name except `on`.
    fn fragment_name(&mut self, name: &str) -> Converted<Positioned<Name>> {
        match self.peek() {
            Some(token) if token.is("on") => Err(unexpected(token)),
            _ => self.name(name),
        }
    }

    fn skip_description(&mut self, before: &[&str]) {
        let is_followed = self.tokens.get(self.at + 1).is_some_and(|next| before.iter().any(|text| next.is(text)));
        if is_followed && self.peek().is_some_and(Token::is_string) {
            self.at += 1;
        }
    }

    fn operation(&mut self, tree: &ast::OperationDefinition) -> Converted<(Option<Name>, OperationDefinition)> {
        let (ty, keyword) = match tree.operation_type {
            ast::OperationType::Query => (OperationType::Query, "query"),
            ast::OperationType::Mutation => (OperationType::Mutation, "mutation"),
            ast::OperationType::Subscription => (OperationType::Subscription, "subscription"),
        };
        let mut name = None;
        let mut variable_definitions = Vec::new();
        let mut directives = Vec::new();
        if !self.peek().is_some_and(|token| token.is("{")) {
            self.keyword(keyword)?;
            name = tree.name.as_ref().map(|name| self.name(name)).transpose()?.map(Positioned::into_inner);
            if !tree.variables.is_empty() {
                self.punctuator("(")?;
                for variable in &tree.variables {
                    variable_definitions.push(self.variable(variable)?);
                }
                self.punctuator(")")?;
            }
            directives = self.directives(&tree.directives)?;
        }
        let selection_set = self.selection_set(&tree.selection_set)?;
        Ok((name, OperationDefinition { ty, variable_definitions, directives, selection_set }))
    }

    fn variable(&mut self, tree: &ast::VariableDefinition) -> Converted<Positioned<VariableDefinition>> {
        self.skip_description(&["$"]);
        let pos = self.punctuator("$")?;
        let name = self.name(&tree.name)?;
        self.punctuator(":")?;
        let type_pos = self.pos();
        let var_type = Positioned::new(self.type_of(&tree.ty)?, type_pos);
        let mut default_value = None;
        if let Some(value) = &tree.default_value {
            self.punctuator("=")?;
            let pos = self.pos();
            let constant = self.value(value)?.into_const();
            let constant = constant.ok_or_else(|| Fault::syntax(pos, "a default value has no variables"))?;
            default_value = Some(Positioned::new(constant, pos));
        }
        let directives = self.directives(&tree.directives)?;
        let mut arguments = directives.iter().flat_map(|directive| &directive.node.arguments);
        if let Some((name, _)) = arguments.find(|(_, value)| value.node.clone().into_const().is_none()) {
            return Err(Fault::syntax(name.pos, "a directive of a variable has no variables"));
        }
        Ok(Positioned::new(VariableDefinition { name, var_type, directives, default_value }, pos))
    }

    fn type_of(&mut self, tree: &ast::Type) -> Converted<Type> {
        let (base, nullable) = match tree {
            ast::Type::Named(name) => (BaseType::Named(self.name(name)?.node), true),
            ast::Type::NonNullNamed(name) => (BaseType::Named(self.name(name)?.node), false),
            ast::Type::List(item) | ast::Type::NonNullList(item) => {
                self.punctuator("[")?;
                let item = self.type_of(item)?;
                self.punctuator("]")?;
                (BaseType::List(Box::new(item)), matches!(tree, ast::Type::List(_)))
            }
        };
        if !nullable {
            self.punctuator("!")?;
        }
        Ok(Type { base, nullable })
    }

    fn fragment(&mut self, tree: &ast::FragmentDefinition) -> Converted<(Name, FragmentDefinition)> {
        self.keyword("fragment")?;
        let name = self.fragment_name(&tree.name)?.node;
        let type_condition = self.type_condition(&tree.type_condition)?;
        let directives = self.directives(&tree.directives)?;
        let selection_set = self.selection_set(&tree.selection_set)?;
        Ok((name, FragmentDefinition { type_condition, directives, selection_set }))
    }

    fn type_condition(&mut self, name: &str) -> Converted<Positioned<TypeCondition>> {
        let pos = self.keyword("on")?;
        Ok(Positioned::new(TypeCondition { on: self.name(name)? }, pos))
    }

    fn directives(&mut self, tree: &ast::DirectiveList) -> Converted<Vec<Positioned<Directive>>> {
        let mut directives = Vec::with_capacity(tree.len());
        for directive in tree.iter() {
            let pos = self.punctuator("@")?;
            let name = self.name(&directive.name)?;
            let arguments = self.arguments(&directive.arguments)?;
            directives.push(Positioned::new(Directive { name, arguments }, pos));
        }
        Ok(directives)
    }

    fn arguments(&mut self, tree: &[Node<ast::Argument>]) -> Converted<Vec<(Positioned<Name>, Positioned<Value>)>> {
        let mut arguments = Vec::with_capacity(tree.len());
        if tree.is_empty() {
            return Ok(arguments);
        }
        self.punctuator("(")?;
        for argument in tree {
            let name = self.name(&argument.name)?;
            self.punctuator(":")?;
            let pos = self.pos();
            arguments.push((name, Positioned::new(self.value(&argument.value)?, pos)));
        }
        self.punctuator(")")?;
        Ok(arguments)
    }

    fn selection_set(&mut self, tree: &[ast::Selection]) -> Converted<Positioned<SelectionSet>> {
        let pos = self.punctuator("{")?;
        let mut items = Vec::with_capacity(tree.len());
        for selection in tree {
            let pos = self.pos();
            items.push(Positioned::new(self.selection(selection, pos)?, pos));
        }
        match self.peek() {
            Some(token) if items.is_empty() => Err(unexpected(token)),
            _ => self.punctuator("}").map(|_| Positioned::new(SelectionSet { items }, pos)),
        }
    }

    fn selection(&mut self, tree: &ast::Selection, pos: Pos) -> Converted<Selection> {
        Ok(match tree {
            ast::Selection::Field(field) => {
                let alias = field.alias.as_ref().map(|alias| self.name(alias)).transpose()?;
                if alias.is_some() {
                    self.punctuator(":")?;
                }
                let name = self.name(&field.name)?;
                let arguments = self.arguments(&field.arguments)?;
                let directives = self.directives(&field.directives)?;
                let selection_set = match field.selection_set.as_slice() {
                    [] => Positioned::new(SelectionSet::default(), Pos::default()),
                    selections => self.selection_set(selections)?,
                };
                let (own, around) = match field.name.as_str() {
                    // The library's validator does not see variables of directives on `__typename`.
                    "__typename" => (Vec::new(), directives),
                    _ => (directives, Vec::new()),
                };
                let field = Field { alias, name, arguments, directives: own, selection_set };
                let field = Selection::Field(Positioned::new(field, pos));
                if around.is_empty() {
                    return Ok(field);
                }
                let selection_set = Positioned::new(SelectionSet { items: vec![Positioned::new(field, pos)] }, pos);
                let fragment = InlineFragment { type_condition: None, directives: around, selection_set };
                Selection::InlineFragment(Positioned::new(fragment, pos))
            }
            ast::Selection::FragmentSpread(spread) => {
                self.punctuator("...")?;
                let fragment_name = self.fragment_name(&spread.fragment_name)?;
                let directives = self.directives(&spread.directives)?;
                Selection::FragmentSpread(Positioned::new(FragmentSpread { fragment_name, directives }, pos))
            }
            ast::Selection::InlineFragment(fragment) => {
                self.punctuator("...")?;
                let type_condition =
                    fragment.type_condition.as_ref().map(|name| self.type_condition(name)).transpose()?;
                let directives = self.directives(&fragment.directives)?;
                let selection_set = self.selection_set(&fragment.selection_set)?;
                let fragment = InlineFragment { type_condition, directives, selection_set };
                Selection::InlineFragment(Positioned::new(fragment, pos))
            }
        })
    }

    fn value(&mut self, tree: &ast::Value) -> Converted<Value> {
        Ok(match tree {
            ast::Value::Null => self.keyword("null").map(|_| Value::Null)?,
            ast::Value::Boolean(is) => self.keyword(if *is { "true" } else { "false" }).map(|_| Value::Boolean(*is))?,
            ast::Value::Enum(name) => Value::Enum(self.name(name)?.node),
            ast::Value::Variable(name) => {
                self.punctuator("$")?;
                Value::Variable(self.name(name)?.node)
            }
            ast::Value::String(text) => {
                self.take(|token| token.is_string())?;
                Value::String(text.clone())
            }
            ast::Value::Int(_) => {
                let token = self.take(|token| token.kind == Kind::Int)?;
                match token.text.parse::<i64>() {
                    Err(_) if self.long_ids.contains(&token.start) => Value::String(token.text.to_owned()),
                    _ => Value::Number(exact(token.text)),
                }
            }
            ast::Value::Float(_) => {
                let token = self.take(|token| token.kind == Kind::Float)?;
                Value::Number(exact(token.text))
            }
            ast::Value::List(items) => {
                self.punctuator("[")?;
                let items = items.iter().map(|item| self.value(item)).collect::<Converted<_>>()?;
                self.punctuator("]")?;
                Value::List(items)
            }
            ast::Value::Object(fields) => {
                self.punctuator("{")?;
                let mut object = IndexMap::with_capacity(fields.len());
                for (name, value) in fields {
                    let name = self.name(name)?;
                    self.punctuator(":")?;
                    let value = self.value(value)?;
                    if object.insert(name.node.clone(), value).is_some() {
                        let message = format!("There can be only one input field named \"{}\".", name.node);
                        self.violate(name.pos, message);
                    }
                }
                self.punctuator("}")?;
                Value::Object(object)
            }
        })
    }
}

/// A number with its original digits, as JSON keeps them.
fn exact(text: &str) -> Number {
    Number::from_string_unchecked(text.to_owned())
}
