//! The house rules of ARCHITECTURE.md that no compiler checks: who imports whom, what stands at the top, what every file says
//! of itself, and what none may say.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A layer of `api/src` (a folder, or a file beside them), the layers that it may use besides itself, and the crates that it
/// must not use. What is not listed here sees everything.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    (
        "transport",
        &["graphql", "live", "domain", "model", "config", "metrics"],
        &["entity", "migration", "sea_orm", "sqlx"],
    ),
    ("graphql", &["live", "domain", "model", "metrics"], &["axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("live", &["domain", "storage", "model", "metrics"], &["axum", "entity", "migration", "sea_orm"]),
    ("domain", &["storage", "model", "metrics"], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("storage", &["model", "metrics"], &["async_graphql", "axum", "migration"]),
    ("model", &[], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("metrics", &[], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("config", &["model"], &["async_graphql", "entity", "migration", "sea_orm", "sqlx"]),
    ("telemetry", &["config", "model"], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
];

/// The files that see every layer.
const OUTSIDE: &[&str] = &["app", "doctor", "lib", "main"];

/// What stands at the top of the repository, besides dot files.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "SECURITY.md",
    "api",
    "clients",
    "entity",
    "migration",
    "schema.graphql",
    "tests",
];

/// Most lines of a source file, its unit tests not counted.
const MAX_LINES: usize = 800;

/// Words of places and things outside the repository, which would mean nothing to its reader. Each is in two pieces, or this
/// file would not pass.
const FOREIGN: &[&str] = &[
    concat!("issue", " #"),
    concat!("/work", "/"),
    concat!("/root", "/"),
    concat!("/home", "/"),
    concat!("registry", ".npmjs"),
    concat!("registry", ".yarnpkg"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
];

#[test]
fn layers_import_what_they_may() {
    let source = root().join("api/src");
    let mut breaches = String::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let Ok(within) = path.strip_prefix(&source) else { continue };
        let mut module: Vec<_> =
            within.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        module.pop_if(|name| name == "mod");
        for (line, breach) in breaches_of(&fs::read_to_string(&path).unwrap(), &module) {
            writeln!(breaches, "{}:{line}: {breach}", display(&path)).unwrap();
        }
    }
    assert!(breaches.is_empty(), "who may import whom (ARCHITECTURE.md, tests/it/house.rs):\n{breaches}");
}

#[test]
fn a_breach_is_found_however_it_is_written() {
    let find = |module: &[&str], code: &str| {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        breaches_of(code, &module).into_iter().map(|(line, _)| line).collect::<Vec<_>>()
    };
    // Given ways to name what a layer must not see, then each is found, on its line …
    assert_eq!(find(&["graphql", "types", "file"], "use crate::{\n    domain::file,\n    storage::db,\n};"), [3]);
    assert_eq!(find(&["graphql", "types", "file"], "use super::super::super::storage::db;"), [1]);
    assert_eq!(find(&["graphql"], "fn f() {\n    g(&[crate::storage::db::now()])\n}"), [2]);
    assert_eq!(find(&["graphql"], "#[derive(sea_orm::FromQueryResult)]\nstruct A(::entity::projects::Model);"), [1, 2]);
    assert_eq!(find(&["domain", "chat"], "use axum;\nuse async_graphql::{Object, self};"), [1, 2, 2]);
    assert_eq!(find(&["model", "clock"], "macro_rules! m { () => { $crate::domain::now() } }"), [1]);
    assert_eq!(find(&["model", "clock"], "mod tests { use super::super::super::domain::now; }"), [1]);
    assert_eq!(find(&["nowhere"], "use crate::model::clock;"), [0]);
    // … and what a layer may see, or only speaks of, is not.
    assert_eq!(find(&["graphql", "types"], "// crate::storage\n/// [`crate::storage`]\nuse crate::domain;"), [0; 0]);
    assert_eq!(
        find(&["model", "clock"], "mod tests { use super::super::page::Page; fn f() { \"axum::x\"; } }"),
        [0; 0]
    );
    assert_eq!(
        find(&["storage", "db"], "use entity::projects; use sea_orm::*; pub(in crate::storage) fn f() {}"),
        [0; 0]
    );
    assert_eq!(find(&["app"], "use crate::storage::db; use axum::Router;"), [0; 0]);
}

#[test]
fn only_what_is_listed_stands_at_the_top() {
    let strangers: Vec<_> =
        children(root(), &ignored()).into_iter().filter(|path| !TOP.contains(&name(path))).collect();
    let strangers: Vec<_> = strangers.iter().map(|path| name(path)).filter(|name| !name.starts_with('.')).collect();
    assert!(strangers.is_empty(), "at the top of the repository, and not in TOP: {strangers:?}");
}

#[test]
fn every_source_file_says_what_it_is_and_is_of_a_size_to_read() {
    let mut problems = String::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//! ") {
            writeln!(problems, "{}:1: begins without a `//!` that says what the file is", display(&path)).unwrap();
        }
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > MAX_LINES {
            writeln!(problems, "{}:{lines}: more than {MAX_LINES} lines before its tests", display(&path)).unwrap();
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn the_repository_speaks_of_itself_alone() {
    let mut problems = String::new();
    for path in files() {
        // What is not text is nobody's to read, and Cargo.lock is written by cargo.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if path == root().join("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for word in FOREIGN.iter().filter(|word| names(&line, word)) {
                writeln!(problems, "{}:{}: {word}", display(&path), number + 1).unwrap();
            }
        }
    }
    assert!(problems.is_empty(), "names that mean nothing to whoever reads the repository:\n{problems}");
}

/// Whether the line holds the word, a path as an absolute one (so not `network/` + the rest, nor an URL's path).
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !word.starts_with('/')
            || !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~})".contains(before))
    })
}

/// What in a file's code breaks the rules of its layer, with the line.
fn breaches_of(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let layer = module.first().map_or("", String::as_str);
    if OUTSIDE.contains(&layer) {
        return Vec::new();
    }
    let Some((_, layers, crates)) = LAYERS.iter().find(|(name, ..)| *name == layer) else {
        return vec![(0, format!("`{layer}` is no layer that LAYERS knows"))];
    };
    let mut paths = Vec::new();
    collect_paths(code.parse().unwrap(), module, &[], &mut paths);
    let breaks = |path: &[String]| match path {
        [first, rest @ ..] if first == "crate" => {
            rest.first().is_some_and(|other| other != layer && !layers.contains(&other.as_str()))
        }
        [first, ..] => crates.contains(&first.as_str()),
        [] => false,
    };
    let paths = paths.into_iter().filter(|(_, path)| breaks(path));
    let allowed = if layers.is_empty() { "no other layer".to_owned() } else { layers.join(", ") };
    let rule = format!("{layer} may use {allowed}, and never {}", crates.join(", "));
    paths.map(|(line, path)| (line, format!("{} ({rule})", path.join("::")))).collect()
}

/// Finds the paths in `use` declarations and everywhere else (comments and strings are no tokens), with their lines. Those of
/// this crate come out as `crate::…`, whichever way they are written. `prefix` is what stands before a `use` group.
fn collect_paths(tokens: TokenStream, module: &[String], prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let ident = |at: usize| match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    };
    let braces = |at: usize| match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    };
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');

    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let TokenTree::Group(group) = token {
            collect_paths(group.stream(), module, &[], found);
        }
        let Some(first) = ident(at) else {
            at += 1;
            continue;
        };
        if let (true, Some(name), Some(body)) = (first == "mod", ident(at + 1), braces(at + 2)) {
            collect_paths(body, &[module, &[name]].concat(), &[], found);
            at += 3;
            continue;
        }
        if first == "as" && !prefix.is_empty() {
            at += 2;
            continue;
        }
        let whole = !prefix.is_empty() || at.checked_sub(1).and_then(ident).is_some_and(|before| before == "use");
        let line = token.span().start().line;
        let mut path = [prefix, &[first]].concat();
        at += 1;
        let mut group = None;
        while colon(at) && colon(at + 1) {
            at += 2;
            group = braces(at);
            let Some(next) = ident(at) else { break };
            path.push(next);
            at += 1;
        }
        match group {
            Some(group) => {
                collect_paths(group, module, &path, found);
                at += 1;
            }
            None if path.len() > 1 || whole => found.push((line, absolute(path, module))),
            None => {}
        }
    }
}

/// `self::…` and `super::…` as `crate::…`.
fn absolute(path: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|segment| *segment == "super").count();
    let rest = match path.first().map(String::as_str) {
        Some("super") => &path[ups..],
        Some("self") => &path[1..],
        _ => return path,
    };
    let above = &module[..module.len().saturating_sub(ups)];
    [&["crate".to_owned()], above, rest].concat()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

fn display(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The patterns of `.gitignore`, and git's own files.
fn ignored() -> Vec<String> {
    let text = fs::read_to_string(root().join(".gitignore")).unwrap();
    text.lines().map(str::to_owned).chain([".git".to_owned()]).collect()
}

/// What is in a folder and not ignored.
fn children(folder: &Path, ignored: &[String]) -> Vec<PathBuf> {
    let is_ignored = |path: &Path| {
        ignored.iter().any(|pattern| match pattern.as_bytes() {
            [b'/', ..] => path == root().join(&pattern[1..]),
            [b'*', ..] => name(path).ends_with(&pattern[1..]),
            _ => name(path) == pattern,
        })
    };
    let mut children: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    children.retain(|path| !is_ignored(path));
    children.sort();
    children
}

/// Every file of the repository that is not ignored.
fn files() -> Vec<PathBuf> {
    let ignored = ignored();
    let (mut files, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in children(&folder, &ignored) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
