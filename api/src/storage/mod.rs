//! Rows, one file per table or group of tables. Every function takes a [`db::Tx`], which contains its actor, and
//! returns only rows that the actor can see. Only `operator` reads everything. Errors follow the convention of
//! `model::error`.

pub mod access;
pub mod access_token;
pub mod activity;
pub mod agent_configuration;
pub mod blob;
pub mod blob_codec;
mod cells;
pub mod chat;
pub mod chat_activity;
pub mod collaborator;
mod columns;
mod content_cache;
pub mod copy_error;
pub mod db;
mod door;
pub mod engine_check;
pub mod event;
mod failure;
pub mod file;
pub mod file_snapshot;
pub mod file_write;
pub mod import;
pub mod json_check;
pub mod node;
pub mod operator;
pub mod presence;
pub mod profile;
pub mod project;
pub mod project_copy;
pub mod revision;
mod save;
pub mod snapshot;
mod sql;
pub mod streaming_message;
pub mod undo;
pub mod webhook;
pub mod webhook_delivery;
pub mod writable;

use std::collections::HashMap;
use std::hash::Hash;

use crate::model::page::{Cursor, Page, Slice};

/// Groups the rows of [`sql::pages`] by their parents, and cuts each group to the page.
fn group<P: Copy + Eq + Hash, T>(rows: Vec<(P, Cursor, T)>, page: &Page) -> Vec<(P, Slice<T>)> {
    let mut lists: HashMap<P, Vec<(Cursor, T)>> = HashMap::new();
    for (parent, cursor, row) in rows {
        lists.entry(parent).or_default().push((cursor, row));
    }
    lists.into_iter().map(|(parent, rows)| (parent, Slice::cut(rows, page))).collect()
}
