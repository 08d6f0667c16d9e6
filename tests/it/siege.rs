//! Given all attacks at once, when an ordinary user works, then nothing of theirs is refused, and the server's memory stays bounded.

use std::time::Duration;

use tests::{
    database::Database,
    server::ChildServer,
    siege::{self, Scale},
};

/// Most resident memory of the server, in bytes, with 64 MiB for requests. A debug build uses the system's allocator, which keeps freed memory.
const MEMORY: u64 = 512 * 1024 * 1024;

tests::on_both! {
    async fn an_ordinary_user_works_beside_all_attacks(database: Database) {
        let server = ChildServer::start_with_flags(&database, &["--max-memory-bytes=67108864"]);
        let (time, rounds) = (Duration::ZERO, 15);
        let scale = Scale { large_files: 3, synced_files: 100, sockets: 5, subscriptions: 20, attackers: 1, time, rounds };
        let report = siege::run(&server, scale).await;
        println!("{report}");
        let none: [String; 0] = [];
        assert_eq!(report.failures, none, "{report}");
        assert_eq!(report.bugs(), none, "{report}");
        assert!(report.peak < MEMORY, "{report}");
    }
}
