//! The rules of ARCHITECTURE.md that the compiler does not check: which layer imports which, that modules do not import
//! each other in a circle, how long files and functions are, which files are at the top of the repository, how source
//! files begin, and which words they must not contain.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use tests::workload::sha256;

/// A layer of `api/src` (a folder or a file), the other layers that it can use, and the crates that it must not use.
/// Modules that are not listed here can use everything.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    (
        "transport",
        &["graphql", "live", "domain", "model", "config", "metrics"],
        &["entity", "migration", "sea_orm", "sqlx"],
    ),
    ("graphql", &["live", "domain", "model", "metrics"], &["axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("live", &["domain", "storage", "model", "metrics"], &["axum", "entity", "migration", "sea_orm"]),
    ("domain", &["storage", "model", "metrics"], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("storage", &["model", "metrics"], &["async_graphql", "axum"]),
    ("model", &[], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("metrics", &[], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
    ("config", &["model"], &["async_graphql", "entity", "migration", "sea_orm", "sqlx"]),
    ("telemetry", &["config", "model"], &["async_graphql", "axum", "entity", "migration", "sea_orm", "sqlx"]),
];

/// The files that can use every layer.
const OUTSIDE: &[&str] =
    &["app", "commands", "connection_check", "database_url", "lib", "main", "migrations", "secret"];

/// The entries at the top of the repository, except dot files.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "api",
    "clients",
    "compose.yaml",
    "deploy",
    "docs",
    "entity",
    "examples",
    "fuzz",
    "migration",
    "schema.graphql",
    "tests",
];

/// Folders that are one module for the rule about circles, although they are several files: their parts need each
/// other, and no order of them would be more natural.
const ONE_MODULE: &[&str] = &[
    // The objects of the API link to each other in every direction.
    "graphql::types",
    // One machine for connections and transactions: its files share private types, and only its `mod.rs` is used.
    "storage::db",
];

/// The folders of the service. Rules about the length of code apply to them, and not to tests.
const SERVICE: &[&str] = &["api/src", "entity/src", "migration/src"];

/// The most lines of a source file of the service, without its unit tests, and of any other source file.
const MAX_LINES: usize = 600;
const MAX_LINES_OF_TESTS: usize = 800;

/// The most lines of a function of the service.
const MAX_FUNCTION_LINES: usize = 70;

/// The most lines of README.md, so that a newcomer reads it to the end.
const MAX_README_LINES: usize = 150;

/// SHA-256 of the files of migrations that databases have. They are never edited: a change is a new migration.
const MIGRATIONS: &[(&str, &str)] = &[
    ("m20261130_000000_schema.rs", "bca2a0743a53c57af1795ba018bb2cc250b9aeef0fa1869bcc9b3b066421e9db"),
    ("m20261130_000001_activity.rs", "8d839637f452fbb8b6ffdef8f16afd7e616cfd9014f3d728033b8fb40779b130"),
    ("m20261130_000002_access_tokens.rs", "dd798a518de461223b69e494ca53d8b2a171eb3a67544d8861541d19ac5f02e8"),
    ("m20261130_000003_webhooks.rs", "ea95d6b5c4ff060daa1a59c210159720be609619a40afc8c6c7317d70c9604ab"),
    ("m20261130_000004_times.rs", "e6acc3ba8997a00ade3c06cbf539759e41cd0838d5817700668d815f0ce032bf"),
    ("m20261130_000005_webhook_rules.rs", "8f240539e5dbe464a5f492b07344cfc803860260abeee10053bcfb3d91aa1c49"),
    ("sql/postgres/times.sql", "501764f48ecea2be8aac6e7bf82fd9c80cc00dff45cc3eed345663a590f79d39"),
    ("sql/postgres/times_drop.sql", "dcb01af9a25c56a2eb674f1e4c18e6a9166417e1fe4ae9171305ee6b5ecf065d"),
    ("sql/postgres/webhook_rules.sql", "a9a8424b15b0ab748a68a9d63300834cba18d2086a618bc2c0fb374d1a691781"),
    ("sql/postgres/webhook_rules_drop.sql", "69ec856ed956c1b0bc3b0f26f023d3caba4510d2142ac8630ab3af361ed57352"),
    ("sql/access_tokens.sql", "5660450f7e70d1201d74fe98eb8a1f399daed11c9ec42bcbc2136ac5f3f180d0"),
    ("sql/activity.sql", "a3a3f2e713902a38b232b28617213a3bed94eb807008b7cb361d374c11da939e"),
    ("sql/postgres/access_tokens.sql", "691ed98f5b9e5a5678a24a2cdaf52b6ccba9c770d957035511089808f6d8d286"),
    ("sql/postgres/access_tokens_drop.sql", "d248699ddb47d9a83cc8090cdc242a90be28a4ccdd8d1a447d5341e31909ba1d"),
    ("sql/postgres/activity.sql", "9d34541827ff8908dfc96cc1c74888f042d24ffdf41a74a6c69bdafd43803009"),
    ("sql/postgres/drop.sql", "c7f0c64c588bac1c78d53b9b3df97a8bb4f45b621cfa19d4d29635162814a394"),
    ("sql/postgres/functions.sql", "b42225591906f75ee981bc0d8e877d00ab87966961b98228ed28d77fec66439d"),
    ("sql/postgres/policies.sql", "24afffba786ac80d8f0cec432b1487d93033191fdc2739dbecefecb511527527"),
    ("sql/postgres/roles.sql", "5b82969bc6bf97e4dafc959553b47a5af5afd269c76af6c20fcf1708d824dc4f"),
    ("sql/postgres/tables.sql", "7a9d17b4c9255b09a8b1906f2df032e40ab2407ee54f754c07029e79a23c503f"),
    ("sql/postgres/triggers.sql", "db01f415bc36ac8ea278eee7c1ffd566b55b45989faecddb2aeb9b603075e8ab"),
    ("sql/sqlite/access_tokens.sql", "a519dd334ddc84da5eaea944cd0305cb073af42fb909b2882ba756bf7c84fb94"),
    ("sql/sqlite/triggers.sql", "1f5c6b0c413338b57f566ff7fe34cf40070df23ee7b1b4afcf288867867cae2d"),
    ("sql/tables.sql", "7d208bf7ec2bf6bc846c5896bc571dfba29877d31929f9851bea2e1ef084f5cc"),
    ("sql/postgres/webhooks.sql", "73ab3dbd628c5cbada8d57ccd461ea875fe9e670ea09a6540080b3e42fed76fb"),
    ("sql/views.sql", "6902171e1cafacfc2566ab3df323c27218585cf6a61bbbc86fa20e3802ee8fe6"),
    ("sql/webhooks.sql", "c7fc61d9962818b9c9c9ab0ca1fe5d0ea2e9477a8dc465ec6caa037e37cadae6"),
];

/// Names of places and things outside the repository, which mean nothing to its readers. Each is in two pieces, because
/// otherwise this file would fail its own test.
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

/// Former names of concepts, which docs/glossary.md defines by other names now. Each is in two pieces, because otherwise
/// this file would fail its own test.
const OLD_NAMES: &[&str] = &[
    concat!("Growing", "Message"),
    concat!("growing", "Message"),
    concat!("growing_", "message"),
    concat!("growing_", "chunk"),
    concat!("chat_", "fold"),
    concat!("folded_", "revision"),
    concat!("Growing", "In"),
    concat!("Text", "Of("),
    concat!("Person", "Here"),
    concat!("Attend", "ance"),
    concat!("whoIs", "Here"),
    concat!("who_is_", "here"),
    concat!("is", "Folded"),
    concat!("is_", "folded"),
    concat!("every", "Save"),
    concat!("every_", "save"),
    concat!("join_", "saves"),
    concat!("JOIN_", "SAVES"),
    concat!("wake", "-up"),
    concat!("Out", "box"),
];

/// The files that read a database of the time of the old names, and the list of changes.
const WITH_OLD_NAMES: &[&str] =
    &["CHANGELOG.md", "migration/src/sql/postgres/unsquashed.sql", "migration/src/sql/unsquashed.sql", "tests/dumps"];

#[test]
fn layers_import_only_permitted_layers() {
    let mut breaches = String::new();
    for (path, module) in modules() {
        for (line, breach) in breaches_of(&fs::read_to_string(&path).unwrap(), &module) {
            writeln!(breaches, "{}:{line}: {breach}", display(&path)).unwrap();
        }
    }
    assert!(breaches.is_empty(), "forbidden imports (ARCHITECTURE.md, tests/it/house.rs):\n{breaches}");
}

#[test]
fn every_form_of_a_forbidden_import_is_found() {
    let find = |module: &[&str], code: &str| {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        breaches_of(code, &module).into_iter().map(|(line, _)| line).collect::<Vec<_>>()
    };
    // Given several ways to name forbidden items, then each is found, on its line …
    assert_eq!(find(&["graphql", "types", "file"], "use crate::{\n    domain::file,\n    storage::db,\n};"), [3]);
    assert_eq!(find(&["graphql", "types", "file"], "use super::super::super::storage::db;"), [1]);
    assert_eq!(find(&["graphql"], "fn f() {\n    g(&[crate::storage::db::now()])\n}"), [2]);
    assert_eq!(find(&["graphql"], "#[derive(sea_orm::FromQueryResult)]\nstruct A(::entity::projects::Model);"), [1, 2]);
    assert_eq!(find(&["domain", "chat"], "use axum;\nuse async_graphql::{Object, self};"), [1, 2, 2]);
    assert_eq!(find(&["model", "clock"], "macro_rules! m { () => { $crate::domain::now() } }"), [1]);
    assert_eq!(find(&["model", "clock"], "mod tests { use super::super::super::domain::now; }"), [1]);
    assert_eq!(find(&["nowhere"], "use crate::model::clock;"), [0]);
    // … and permitted items, and names in comments and strings, are not.
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
fn modules_do_not_import_each_other_in_a_circle() {
    let code = modules().into_iter().filter(|(_, module)| !matches!(module[0].as_str(), "lib" | "main"));
    let code: Vec<_> = code.map(|(path, module)| (module, fs::read_to_string(path).unwrap())).collect();
    let circles = circles_of(&code);
    assert!(circles.is_empty(), "imports in a circle (move the shared item to a lower file):\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let find = |files: &[(&str, &str)]| {
        let module = |name: &str| name.split("::").map(str::to_owned).collect();
        let code: Vec<_> = files.iter().map(|(name, code)| (module(name), (*code).to_owned())).collect();
        circles_of(&code)
    };
    // Given a circle of two files or three, by any form of path, then its imports are found …
    assert_eq!(find(&[("a", "use crate::b::X;"), ("b", "fn f() { crate::a::g() }")]), ["a -> b", "b -> a"]);
    assert_eq!(
        find(&[("a", "use self::c::X;"), ("a::c", "use super::d;"), ("a::d", "struct D(super::Y);")]),
        ["a -> a::c", "a::c -> a::d", "a::d -> a"]
    );
    assert_eq!(find(&[("a", "const X: u8 = c::X;"), ("a::c", "use super::*;")]), ["a -> a::c", "a::c -> a"]);
    // … also through a re-export, which counts as an import of the module that has the item.
    let files = [("a", "pub use self::c::X;"), ("a::c", "use super::d;"), ("a::d", "use super::X;")];
    assert_eq!(find(&files), ["a::c -> a::d", "a::d -> a::c"]);
    // A way in one direction, a re-export alone, unit tests, and the parts of one module are no circle.
    assert_eq!(find(&[("a", "use crate::b;"), ("b", "use crate::c::X;"), ("c", "")]), [""; 0]);
    assert_eq!(
        find(&[("a", "pub use self::c::X;"), ("a::c", "use super::Y;"), ("a::d", "")]),
        ["a -> a::c", "a::c -> a"]
    );
    assert_eq!(find(&[("a", "pub use self::{c::X, d::Y};"), ("a::c", "use super::Y;"), ("a::d", "")]), [""; 0]);
    assert_eq!(find(&[("a", "use crate::b;"), ("b", "#[cfg(test)]\npub(super) mod tests { use crate::a; }")]), [""; 0]);
    assert_eq!(find(&[("storage::db", "use self::a::X;"), ("storage::db::a", "use super::Y;")]), [""; 0]);
    assert_eq!(find(&[("a", "use self::c::X;"), ("a::c", "pub(in crate::a) struct X;")]), [""; 0]);
}

#[test]
fn functions_are_not_too_long() {
    let mut problems = String::new();
    for path in sources().into_iter().filter(|path| is_of_service(path)) {
        let code = fs::read_to_string(&path).unwrap();
        for (line, name, lines) in functions_of(&code).into_iter().filter(|(.., lines)| *lines > MAX_FUNCTION_LINES) {
            writeln!(problems, "{}:{line}: {name} has {lines} lines", display(&path)).unwrap();
        }
    }
    assert!(problems.is_empty(), "functions of more than {MAX_FUNCTION_LINES} lines:\n{problems}");
}

#[test]
fn the_length_of_every_function_is_found() {
    let find = |code: &str| {
        functions_of(code).into_iter().map(|(line, name, lines)| format!("{line} {name} {lines}")).collect::<Vec<_>>()
    };
    assert_eq!(find("fn a() {}\npub async fn b<F: Fn(u8) -> u8>(f: F)\nwhere\n    F: Send,\n{\n}"), ["1 a 1", "2 b 5"]);
    assert_eq!(find("impl A {\n    fn a(&self) {\n        fn b() {\n        }\n    }\n}"), ["2 a 4", "3 b 2"]);
    assert_eq!(find("made! {\n    fn a() {\n        1\n    }\n}"), ["2 a 3"]);
    assert_eq!(find("macro_rules! m {\n    () => {\n        fn a() {\n        }\n    };\n}"), ["3 a 2"]);
    // A declaration, the type of a function, and a unit test are none.
    assert_eq!(find("trait A {\n    fn a();\n}\nstruct B(fn(u8) -> u8, [u8; 3]);"), [""; 0]);
    assert_eq!(find("#[cfg(test)]\nmod tests {\n    fn a() {\n    }\n}\nfn b() {\n}"), ["6 b 2"]);
}

#[test]
fn the_top_of_the_repository_holds_only_listed_entries() {
    let strangers: Vec<_> =
        children(root(), &ignored()).into_iter().filter(|path| !TOP.contains(&name(path))).collect();
    let strangers: Vec<_> = strangers.iter().map(|path| name(path)).filter(|name| !name.starts_with('.')).collect();
    assert!(strangers.is_empty(), "at the top of the repository, and not in TOP: {strangers:?}");
}

#[test]
fn every_source_file_begins_with_a_description_and_is_not_too_long() {
    let mut problems = String::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//! ") {
            writeln!(problems, "{}:1: does not begin with a `//!` that describes the file", display(&path)).unwrap();
        }
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        let max = if is_of_service(&path) { MAX_LINES } else { MAX_LINES_OF_TESTS };
        if lines > max {
            writeln!(problems, "{}:{lines}: more than {max} lines before its tests", display(&path)).unwrap();
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn the_repository_names_nothing_outside_itself() {
    let problems = find_in_texts(&["Cargo.lock"], |line| {
        let line = line.to_lowercase();
        FOREIGN.iter().copied().find(|word| names(&line, word))
    });
    assert!(problems.is_empty(), "names of things outside the repository:\n{problems}");
}

#[test]
fn no_concept_has_its_old_name() {
    let problems = find_in_texts(WITH_OLD_NAMES, old_name);
    assert!(problems.is_empty(), "old names; docs/glossary.md has the new ones:\n{problems}");
}

#[test]
fn an_old_name_is_found() {
    for line in [concat!("use super::Out", "box;"), concat!("after a wake", "-up"), concat!("get is", "Folded")] {
        assert!(old_name(line).is_some(), "{line}");
    }
    for line in ["let growing = 1;", "woken up", "a folded page", "Growth of the history", "the inbox", "join saves"] {
        assert_eq!(old_name(line), None, "{line}");
    }
}

#[test]
fn applied_migrations_are_not_edited() {
    let sum = |path: &str| sha256(fs::read(root().join("migration/src").join(path)).unwrap());
    let edited: Vec<_> = MIGRATIONS.iter().filter(|(path, expected)| sum(path) != *expected).collect();
    assert!(
        edited.is_empty(),
        "databases have these migrations already; write a new one (CONTRIBUTING.md): {edited:#?}"
    );
}

#[test]
fn readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(
        lines <= MAX_README_LINES,
        "README.md has {lines} lines, and at most {MAX_README_LINES} are read to the end"
    );
}

#[test]
fn every_link_of_a_document_resolves() {
    let mut problems = String::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for (line, target) in links(&text) {
            if let Some(problem) = broken(&path, &text, &target) {
                writeln!(problems, "{}:{line}: {target}: {problem}", display(&path)).unwrap();
            }
        }
    }
    assert!(problems.is_empty(), "links that lead nowhere:\n{problems}");
}

#[test]
fn every_document_is_linked() {
    let documents: Vec<_> = files()
        .into_iter()
        .filter(|path| {
            path.starts_with(root().join("docs")) && path.extension().is_some_and(|extension| extension == "md")
        })
        .collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let linked: Vec<_> = links(&readme).into_iter().map(|(_, target)| root().join(target)).collect();
    let strangers: Vec<_> = documents.iter().filter(|path| !linked.contains(path)).map(|path| display(path)).collect();
    assert!(strangers.is_empty(), "README.md does not lead to {strangers:?}");
}

#[test]
fn a_broken_link_is_found() {
    let text = "# A b\n[one](docs/api.md) `[no](x)` [two](#a-b) ![three](nowhere.png)\n    [code](x)\n```\n[code](x)\n```\n\
                [four](#c) [five](docs/api.md#nothing) [six](https://example.com/x)";
    let readme = root().join("README.md");
    let found: Vec<_> = links(text).into_iter().filter(|(_, target)| broken(&readme, text, target).is_some()).collect();
    let expected = [(2, "nowhere.png"), (7, "#c"), (7, "docs/api.md#nothing")];
    assert_eq!(found, expected.map(|(line, target)| (line, target.to_owned())));
}

#[test]
fn every_setting_of_the_documents_is_one() {
    let help = antiphon::config::Cli::try_parse_from(["antiphon", "serve", "--help"]).unwrap_err().to_string();
    let text = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let (_, settings) = text.split_once("## Settings").unwrap();
    let (settings, _) = settings.split_once("\n## ").unwrap();
    let rows = settings.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names: Vec<_> = rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    assert!(names.len() > 40, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !help.contains(&format!("[env: {name}"))).collect();
    assert!(missing.is_empty(), "docs/operating.md names settings that there are not: {missing:?}");
}

#[test]
fn every_step_of_a_walk_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, walks) = text.split_once("\n## Three walks\n").unwrap();
    let steps: Vec<_> = walks.split("\n## ").next().unwrap().lines().filter_map(step).collect();
    assert!(steps.len() > 50, "{steps:?}");
    let missing = steps.iter().filter(|(file, functions)| {
        let code = fs::read_to_string(root().join("api/src").join(file)).unwrap_or_default();
        !functions.iter().all(|name| code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}<")))
    });
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "steps of ARCHITECTURE.md that are not in the code: {missing:?}");
}

#[test]
fn a_step_is_a_file_with_functions() {
    let found = step("12. `live/source.rs` `Source::open`, `next`: opens it (`channel.rs`)");
    assert_eq!(found, Some(("live/source.rs", vec!["open", "next"])));
    assert_eq!(step("The climbs are `a.rs` `b`."), None);
}

/// The file and the functions of a numbered step.
fn step(line: &str) -> Option<(&str, Vec<&str>)> {
    let (number, rest) = line.split_once(". `")?;
    number.parse::<u32>().ok()?;
    let (file, rest) = rest.split_once('`')?;
    let functions = rest.split(": ").next().unwrap_or_default().split('`').skip(1).step_by(2);
    Some((file, functions.map(|path| path.rsplit("::").next().unwrap_or(path)).collect()))
}

/// The lines of the texts of the repository in which a word is found, without those of the files and folders `except`.
fn find_in_texts(except: &[&str], find: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut found = String::new();
    let is_left_out = |path: &Path| except.iter().any(|other| path.starts_with(root().join(other)));
    for path in files().into_iter().filter(|path| !is_left_out(path)) {
        // Binary files are no texts.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, word) in text.lines().enumerate().filter_map(|(number, line)| Some((number, find(line)?))) {
            writeln!(found, "{}:{}: {word}", display(&path), number + 1).unwrap();
        }
    }
    found
}

fn old_name(line: &str) -> Option<&'static str> {
    OLD_NAMES.iter().copied().find(|name| line.contains(name))
}

/// The links and pictures of a Markdown text, outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut links, mut is_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code || line.starts_with("    ") {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in prose.match_indices("](") {
            let target = prose[at + 2..].split(')').next().unwrap_or_default();
            links.push((number + 1, target.to_owned()));
        }
    }
    links
}

/// What is wrong with a link of a document. Other sites are not asked.
fn broken(document: &Path, text: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    if !path.exists() {
        return Some("there is no such file");
    }
    let anchor = anchor?;
    let other = if file.is_empty() { text.to_owned() } else { fs::read_to_string(path).unwrap_or_default() };
    let headings = other.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let has = headings.map(anchor_of).any(|heading| heading == anchor);
    (!has).then_some("there is no such heading")
}

/// The anchor that a heading gets: small letters, dashes for blanks, and no other signs.
fn anchor_of(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|sign| sign.is_alphanumeric() || " -_".contains(*sign))
        .map(|sign| if sign == ' ' { '-' } else { sign })
        .collect()
}

/// Whether the line contains the word. A path counts only as an absolute one, and not within another path or a URL.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !word.starts_with('/')
            || !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~})".contains(before))
    })
}

/// The imports that are parts of a circle, of modules with their code.
fn circles_of(code: &[(Vec<String>, String)]) -> Vec<String> {
    let code = code.iter().map(|(module, code)| (module.as_slice(), productive(code.parse().unwrap())));
    let code: BTreeMap<&[String], TokenStream> = code.collect();
    let named = code.iter().map(|(module, code)| (*module, paths_of(used(code), module))).collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in &code {
        let from = whole(module);
        let paths = paths_of(code.clone(), module);
        let others = paths.iter().filter_map(|path| owner(path, module, &named, 0)).map(|to| whole(&to));
        imports.entry(from.clone()).or_default().extend(others.filter(|to| *to != from));
    }
    let leads_to = |from: &str, to: &str| {
        let (mut seen, mut left) = (BTreeSet::from([from]), vec![from]);
        while let Some(next) = left.pop() {
            for other in imports.get(next).into_iter().flatten() {
                if other == to {
                    return true;
                }
                if seen.insert(other) {
                    left.push(other);
                }
            }
        }
        false
    };
    let edges = imports.iter().flat_map(|(from, others)| others.iter().map(move |to| (from, to)));
    edges.filter(|(from, to)| leads_to(to, from)).map(|(from, to)| format!("{from} -> {to}")).collect()
}

/// The name of a module, or of the larger one that it is a part of.
fn whole(module: &[String]) -> String {
    let name = module.join("::");
    let is_part = |folder: &&&str| name == **folder || name.starts_with(&format!("{folder}::"));
    ONE_MODULE.iter().find(is_part).map_or(name.clone(), |folder| (*folder).to_owned())
}

/// The module that has the item of a path. `named` are the paths in the `use` declarations of each module: a re-export
/// leads to the module that it names.
fn owner(
    path: &[String],
    from: &[String],
    named: &BTreeMap<&[String], Vec<Vec<String>>>,
    depth: usize,
) -> Option<Vec<String>> {
    let path = match path {
        [first, rest @ ..] if first == "crate" => rest.to_vec(),
        // A path without `crate` can begin with a child of the module.
        path => [from, path].concat(),
    };
    let path = path.strip_suffix(&["self".to_owned()]).unwrap_or(&path);
    let module = (1..=path.len()).rev().map(|length| &path[..length]).find(|prefix| named.contains_key(prefix))?;
    let item = path.get(module.len()).filter(|_| module != from && depth < 8);
    let re_export = item.and_then(|item| named[module].iter().find(|path| path.last() == Some(item)));
    let re_export = re_export.and_then(|path| owner(path, module, named, depth + 1));
    Some(re_export.unwrap_or_else(|| module.to_vec()))
}

fn paths_of(code: TokenStream, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    collect_paths(code, module, &[], &mut found);
    found.into_iter().map(|(_, path)| path).collect()
}

/// The `use` declarations of a module.
fn used(code: &TokenStream) -> TokenStream {
    let mut is_use = false;
    let keep = |token: &TokenTree| {
        is_use = (is_use && !is_punct(token, ';')) || is_ident(token, "use");
        is_use
    };
    code.clone().into_iter().filter(keep).collect()
}

/// The code without unit tests, and without the paths of visibilities.
fn productive(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        if is_ident(token, "pub") && is_group(tokens.get(at), Delimiter::Parenthesis) {
            at += 1;
        }
        let attribute = tokens.get(at).filter(|next| is_punct(token, '#') && is_group(Some(next), Delimiter::Bracket));
        if attribute.is_some_and(|attribute| attribute.to_string().replace(' ', "") == "[cfg(test)]") {
            // The item ends with a block or a semicolon.
            let ends = |token: &TokenTree| is_punct(token, ';') || is_group(Some(token), Delimiter::Brace);
            at += tokens[at..].iter().position(ends).map_or(tokens.len(), |length| length + 1);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let mut clean = Group::new(group.delimiter(), productive(group.stream()));
                clean.set_span(group.span());
                TokenTree::Group(clean)
            }
            other => other.clone(),
        });
    }
    kept.into_iter().collect()
}

/// The functions in code: line, name and number of lines. Without unit tests and declarations.
fn functions_of(code: &str) -> Vec<(usize, String, usize)> {
    fn collect(tokens: TokenStream, found: &mut Vec<(usize, String, usize)>) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            if let TokenTree::Group(group) = token {
                collect(group.stream(), found);
            }
            let (true, Some(TokenTree::Ident(name))) = (is_ident(token, "fn"), tokens.get(at + 1)) else { continue };
            let rest = tokens[at..].iter().take_while(|token| !is_punct(token, ';'));
            let body = rest.into_iter().find(|token| is_group(Some(token), Delimiter::Brace));
            if let Some(body) = body {
                let first = token.span().start().line;
                found.push((first, name.to_string(), body.span().end().line + 1 - first));
            }
        }
    }

    let mut found = Vec::new();
    collect(productive(code.parse().unwrap()), &mut found);
    found.sort();
    found
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

/// The forbidden paths in a file's code, with their lines.
fn breaches_of(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let layer = module.first().map_or("", String::as_str);
    if OUTSIDE.contains(&layer) {
        return Vec::new();
    }
    let Some((_, layers, crates)) = LAYERS.iter().find(|(name, ..)| *name == layer) else {
        return vec![(0, format!("`{layer}` is not in LAYERS"))];
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

/// Finds the paths in `use` declarations and everywhere else (comments and strings are no tokens), with their lines.
/// Paths of this crate become `crate::…`, however they are written. `prefix` is the path before a `use` group.
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

/// Turns `self::…` and `super::…` into `crate::…`.
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

/// The entries of a folder that are not ignored.
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

/// The source files of the repository.
fn sources() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn is_of_service(path: &Path) -> bool {
    SERVICE.iter().any(|folder| path.starts_with(root().join(folder)))
}

/// The source files of `api/src`, with their modules.
fn modules() -> Vec<(PathBuf, Vec<String>)> {
    let source = root().join("api/src");
    let modules = sources().into_iter().filter_map(|path| {
        let within = path.strip_prefix(&source).ok()?.with_extension("");
        let mut module: Vec<_> = within.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        module.pop_if(|name| name == "mod");
        Some((path, module))
    });
    modules.collect()
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
