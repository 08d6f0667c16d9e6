//! Given the writes of an assistant in 120 turns, when all of them go through the API, then every checkpoint, rollback,
//! version and published event is correct.

use std::{env, fs, path::Path};

use tests::{
    replay::replay,
    server::Server,
    workload::{self, Stream},
};

async fn replay_all(server: &Server, stream: &Stream) {
    let report = replay(&server.user("ada@example.com"), stream, |_| {}).await;
    let report = report.unwrap_or_else(|error| panic!("{}: {error:#}", stream.name));
    assert_eq!(report.turns, stream.turns.len());
}

tests::on_both! {
    async fn a_session_of_120_turns_is_stored_completely(server: Server) {
        let mut stream = workload::agent_session(1);
        // They contain three rollbacks, and a deletion that one of them takes back.
        stream.turns.truncate(120);
        replay_all(&server, &stream).await;
    }

    async fn the_edge_cases_are_stored_completely(server: Server) {
        replay_all(&server, &workload::edges(1)).await;
    }

    /// `ANTIPHON_STREAMS` names a folder of streams (`*.jsonl`). Without it there are no more streams to replay.
    async fn the_given_streams_are_stored_completely(server: Server) {
        let Some(folder) = env::var_os("ANTIPHON_STREAMS") else { return };
        let mut paths: Vec<_> = fs::read_dir(Path::new(&folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        assert!(!paths.is_empty(), "no streams in {folder:?}");
        for path in paths {
            let stream = Stream::parse(&fs::read_to_string(&path).unwrap());
            replay_all(&server, &stream.unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))).await;
        }
    }
}
