//! Given all attacks at once, when an ordinary user works, then nothing of theirs is refused, and the server's memory stays bounded.

use std::time::Duration;

use tests::{
    database::Database,
    server::ChildServer,
    siege::{self, Scale},
};

/// Most resident memory of the server, in bytes, with 64 MiB for requests. A debug build needs more than a release.
const MEMORY: u64 = 768 * 1024 * 1024;

/// With one arena, the allocator of a debug build keeps less of what is freed.
const VARIABLES: [(&str, &str); 2] = [("MAX_MEMORY_BYTES", "67108864"), ("MALLOC_ARENA_MAX", "1")];

tests::on_both! {
    async fn an_ordinary_user_works_beside_all_attacks(database: Database) {
        let server = ChildServer::start_with(&database, &VARIABLES);
        let (time, rounds) = (Duration::ZERO, 3);
        let scale = Scale { large_files: 3, synced_files: 50, sockets: 5, subscriptions: 20, attackers: 1, time, rounds };
        let report = siege::run(&server, scale).await;
        println!("{report}");
        let none: [String; 0] = [];
        assert_eq!(report.failures, none, "{report}");
        assert_eq!(report.bugs(), none, "{report}");
        assert!(report.peak < MEMORY, "{report}");
    }
}
