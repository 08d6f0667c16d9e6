//! Efficient resolution of list rows. The library allocates a future for every field of every row, but most fields only
//! read a value in memory. A list whose selected fields are all plain becomes JSON at once, without a value for each row.

use std::borrow::Cow;

use async_graphql::connection::{CursorType, Edge, EmptyFields};
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::{ContainerType, resolve_container, resolve_list};
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value};
use futures::FutureExt;
use futures::future::try_join_all;

use super::context::caller;
use super::json_text::raw_json;
use super::{error_path, json_text};

/// An object that occurs many times in a result.
pub trait Plain: ContainerType {
    /// Whether a field usually resolves without waiting. This is only a hint: a field that does wait is resolved a
    /// second time, which only takes more time.
    fn is_plain(field: &str) -> bool;
}

/// An object that resolves its plain fields sequentially and only the others concurrently.
pub struct Row<T>(pub T);

impl<T: Plain> OutputType for Row<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        self.fields(ctx).await.map_err(error_path::keep)
    }
}

impl<T: Plain> Row<T> {
    async fn fields(&self, ctx: &ContextSelectionSet<'_>) -> ServerResult<Value> {
        let row = &self.0;
        let Some(fields) = distinct_fields(ctx) else { return resolve_container(ctx, row).await };
        let mut values = IndexMap::with_capacity(fields.len());
        let mut waiting = Vec::new();
        for field in fields {
            let (name, key) = (field.node.name.node.as_str(), field.node.response_key().node.clone());
            let now = match name {
                "__typename" => Some(Ok(Some(row.introspection_type_name().into_owned().into()))),
                _ if T::is_plain(name) => row.resolve_field(&ctx.with_field(field)).now_or_never(),
                _ => None,
            };
            match now {
                Some(value) => drop(values.insert(key, value?.unwrap_or_default())),
                None => {
                    // Reserve its position in the result.
                    values.insert(key.clone(), Value::Null);
                    waiting.push(async move {
                        let value = row.resolve_field(&ctx.with_field(field)).await?;
                        Ok::<_, ServerError>((key, value.unwrap_or_default()))
                    });
                }
            }
        }
        if !waiting.is_empty() {
            values.extend(try_join_all(waiting).await?);
        }
        Ok(Value::Object(values))
    }
}

/// The rows of a page.
pub struct Rows<'e, C: CursorType + Send + Sync, T: Plain>(pub &'e [Edge<C, Row<T>, EmptyFields>]);

impl<C: CursorType + Send + Sync, T: Plain> OutputType for Rows<'_, C, T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<Row<T>>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<Row<T>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<Row<T>>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        if let Some(json) = self.json(ctx) {
            return Ok(json);
        }
        resolve_list(ctx, field, self.0.iter().map(|edge| &edge.node), Some(self.0.len())).await
    }
}

impl<C: CursorType + Send + Sync, T: Plain> Rows<'_, C, T> {
    /// The rows as JSON; `None` if a field is not plain or fails, or if the library may have to merge the result with
    /// that of another field.
    fn json(&self, ctx: &ContextSelectionSet<'_>) -> Option<Value> {
        let caller = caller(ctx).ok().filter(|caller| caller.merges_nothing)?;
        let fields = distinct_fields(ctx)?;
        let is_plain = |name: &str| name == "__typename" || T::is_plain(name);
        if !fields.iter().all(|field| is_plain(field.node.name.node.as_str())) {
            return None;
        }
        let answered = caller.reader.answered();
        let errors = ctx.query_env.errors.lock().map_or(0, |errors| errors.len());
        let json = caller.json.write(|json, limit| self.write(ctx, &fields, json, limit));
        if json.is_none() {
            // The rows are resolved again, with their errors.
            caller.reader.take_back(answered);
            if let Ok(mut all) = ctx.query_env.errors.lock() {
                all.truncate(errors);
            }
        }
        json.map(raw_json)
    }

    fn write(
        &self,
        ctx: &ContextSelectionSet<'_>,
        fields: &[&Positioned<Field>],
        json: &mut Vec<u8>,
        limit: usize,
    ) -> Option<()> {
        for (index, edge) in self.0.iter().enumerate() {
            let ctx = ctx.with_index(index);
            json.push(if index == 0 { b'[' } else { b',' });
            let mut before = b'{';
            for field in fields {
                let row = &edge.node.0;
                let value = match field.node.name.node.as_str() {
                    "__typename" => Some(row.introspection_type_name().into_owned().into()),
                    _ => row.resolve_field(&ctx.with_field(field)).now_or_never()?.ok()?,
                };
                // Before it is written: a text can become six times as long.
                if json.len() > limit || matches!(&value, Some(Value::String(text)) if text.len() > limit) {
                    return None;
                }
                json.push(before);
                json_text::write_string(field.node.response_key().node.as_str(), json);
                json.push(b':');
                json_text::write(&value.unwrap_or_default(), json);
                before = b',';
            }
            json.push(b'}');
            if json.len() > limit {
                return None;
            }
        }
        json.extend_from_slice(if self.0.is_empty() { b"[]" } else { b"]" });
        Some(())
    }
}

/// The selected fields; `None` if the library has to merge fragments, directives, or fields with the same name.
fn distinct_fields<'a>(ctx: &ContextSelectionSet<'a>) -> Option<Vec<&'a Positioned<Field>>> {
    let mut fields: Vec<&Positioned<Field>> = Vec::with_capacity(ctx.item.node.items.len());
    for selection in &ctx.item.node.items {
        let Selection::Field(field) = &selection.node else { return None };
        let key = field.node.response_key();
        let is_new = fields.iter().all(|other| other.node.response_key().node != key.node);
        if !is_new || !field.node.directives.is_empty() {
            return None;
        }
        fields.push(field);
    }
    Some(fields)
}
