//! Given a webhook and several servers on one PostgreSQL database, when servers write at the same time and one of them is
//! killed, then every event is delivered in order and at least once; without a kill, exactly once.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{
    client::Client,
    database::Kind,
    project::Project,
    receiver::{Received, Receiver},
    server::{ChildServer, run_with_database},
};

use crate::webhooks::{LOCAL, hook, until};

/// A lease of three seconds, and a sweep every second.
const QUICK: [&str; 4] = ["--webhook-timeout-seconds", "1", "--webhook-sweep-seconds", "1"];

const ROUNDS: usize = 3;
const WRITES: usize = 40;

/// What the receiver got in a round.
#[derive(Debug, Default)]
struct Tally {
    deliveries: usize,
    duplicates: usize,
    lost: usize,
    is_in_order: bool,
}

impl Tally {
    /// Counts the messages after a revision up to another. In order means that no event comes before an earlier one has
    /// come at least once.
    fn of(received: &[Received], after: i64, until: i64) -> Self {
        let revisions: Vec<i64> =
            received.iter().map(Received::revision).filter(|revision| *revision > after).collect();
        let distinct: BTreeSet<i64> = revisions.iter().copied().collect();
        let mut newest = after;
        let is_in_order = revisions.iter().all(|revision| {
            let follows = *revision <= newest + 1;
            newest = newest.max(*revision);
            follows
        });
        let lost = (after + 1..=until).filter(|revision| !distinct.contains(revision)).count();
        Self { deliveries: revisions.len(), duplicates: revisions.len() - distinct.len(), lost, is_in_order }
    }
}

/// Writes through two servers at once. A write fails if its server is killed.
async fn write(clients: [&Client; 2], project: &str, writes: usize) -> usize {
    let write = async |client: &Client, name: String| {
        let query = "mutation($input: UpdateProjectInput!) { updateProject(input: $input) { revision } }";
        let input = json!({ "id": project, "name": name });
        client.request(query, json!({ "input": input })).await.is_ok_and(|answer| answer.errors.is_empty())
    };
    // Equal names would be no change, and therefore no revision.
    let all = async |client: &Client, server: &str| {
        let mut acknowledged = 0;
        for n in 0..writes {
            acknowledged += usize::from(write(client, format!("Written {server} {n}")).await);
        }
        acknowledged
    };
    let [one, two] = clients;
    let (one, two) = tokio::join!(all(one, "here"), all(two, "there"));
    one + two
}

fn flags() -> Vec<&'static str> {
    [&LOCAL[..], &QUICK].concat()
}

#[test]
fn two_servers_deliver_each_event_once_and_in_order() {
    run_with_database(Kind::Postgres, async |database| {
        let servers =
            [ChildServer::start_with_flags(&database, &flags()), ChildServer::start_with_flags(&database, &flags())];
        let [one, two] = [servers[0].user("ada@example.com"), servers[1].user("ada@example.com")];
        let receiver = Receiver::start().await;
        let project = Project::create(&one, "Shared").await;
        let id = hook(&project, &receiver.url()).await;
        let mut after = 1;
        for round in 1..=ROUNDS {
            let acknowledged = write([&one, &two], &project.id, WRITES).await;
            assert_eq!(acknowledged, 2 * WRITES);
            let revision = project.revision().await;
            until(&one, &id, "revision", |delivered| delivered == revision).await;
            let tally = Tally::of(&receiver.received(), after, revision);
            println!("round {round}, no kill: {tally:?}");
            assert_eq!(
                (tally.deliveries, tally.duplicates, tally.lost, tally.is_in_order),
                (2 * WRITES, 0, 0, true),
                "{tally:?}"
            );
            after = revision;
        }
    });
}

#[test]
fn the_events_of_a_killed_server_are_delivered_by_another() {
    run_with_database(Kind::Postgres, async |database| {
        let survivor = ChildServer::start_with_flags(&database, &flags());
        let ada = survivor.user("ada@example.com");
        let receiver = Receiver::start().await;
        let project = Project::create(&ada, "Survived").await;
        let id = hook(&project, &receiver.url()).await;
        let mut after = 1;
        for round in 1..=ROUNDS {
            let mut victim = ChildServer::start_with_flags(&database, &flags());
            let client = victim.user("ada@example.com");
            let before = receiver.received().len();
            let writing = {
                let (ada, client, id) = (ada.clone(), client.clone(), project.id.clone());
                tokio::spawn(async move { write([&ada, &client], &id, WRITES).await })
            };
            // It is killed in the middle of the deliveries, at another point in each round.
            receiver.wait_for(before + 7 * round).await;
            victim.kill();
            let acknowledged = writing.await.unwrap();
            let revision = project.revision().await;
            until(&ada, &id, "revision", |delivered| delivered == revision).await;
            let tally = Tally::of(&receiver.received(), after, revision);
            println!(
                "round {round}, {acknowledged} of {} writes acknowledged, one server killed: {tally:?}",
                2 * WRITES
            );
            assert_eq!((tally.lost, tally.is_in_order), (0, true), "{tally:?}");
            assert!(tally.duplicates <= 1, "a lost lease repeats the event that was being sent: {tally:?}");
            after = revision;
        }
    });
}
