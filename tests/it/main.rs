//! Every test of the public API, in one binary: each additional binary would have to be linked and started on its own.
//! The `tests` crate describes how to write a test.

mod absent_databases;
mod access;
mod access_tokens;
mod addresses;
mod agent_configurations;
mod backups;
mod bad_input;
mod blame;
mod budgets;
mod chaos;
mod circles;
mod conflicts;
mod counts;
mod cursors;
mod damage;
mod database;
mod database_faults;
mod deploy;
mod disk_faults;
mod documents;
mod doors;
mod exact_answers;
mod failover;
mod faults;
mod folders;
mod git_check;
mod git_http;
mod git_limits;
mod git_push;
mod git_stops;
mod graphiql;

mod harness;
mod history;
mod hostile;
mod house;
mod http;
mod http2;
mod import_export;
mod imports_at_once;
mod insights;
mod interruptions;
mod json;
mod kill;
mod languages;
mod lineage;
mod listening;
mod log_contents;
mod login_connection;
mod logins;
mod long_columns;
mod lost_files;
mod mcp;
mod mcp_protocol;
mod model;
mod modes;
mod named_snapshots;
mod nats;
mod nodes;
mod nulls;
mod odd_repositories;
mod odd_values;
mod one_plan;
mod operators;
mod others_ids;
mod pages;
mod pairs;
mod pasts;
mod payloads;
mod poolers;
mod presence;
mod project_downloads;
mod project_files;
mod protocol;
mod providers;
mod read_only;
mod renames;
mod repeated_imports;
mod replay;
mod replicas;
mod restricted_restores;
mod row_security;
mod rows;
mod saves;
mod schema;
mod siblings;
mod siege;
mod socket_frames;
mod sockets;
mod sorted_texts;
mod specification;
mod stepping_back;
mod stopped_commands;
mod streaming_messages;
mod streams;
mod taking_back;
mod team;
mod team_locks;
mod tokens;
mod top;
mod transaction_poolers;
mod transactions;
mod travel;
mod turns;
mod unsquashed;
mod usage;
mod version_numbers;
mod webhook_chaos;
mod webhook_rows;
mod webhooks;

/// Not a test: runs a server in a process of its own, when this binary is started again for that purpose.
#[test]
fn serve_child() {
    if tests::server::serve_if_child() {
        // The test harness would write its summary to a pipe that nobody reads any more.
        std::process::exit(0);
    }
}

/// A file that `main.rs` does not name would never run.
#[test]
fn every_file_of_tests_is_part_of_this_binary() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || main.contains(&format!("\nmod {name};\n")), "main.rs lacks `mod {name};`");
    }
}
