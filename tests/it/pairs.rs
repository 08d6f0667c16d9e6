//! Given a project, when two of its members write to it at the same time on two servers, then each response states what
//! happened: success, or one of the error codes that the API documents. `INTERNAL` is not among them.

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    project::{Project, mutation},
    server::{Server, user_id},
};

use crate::access::Ids;

/// The number of rounds. In each round every mutation runs with one other; as many rounds as mutations cover all pairs.
fn rounds() -> usize {
    std::env::var("PAIRS_ROUNDS").ok().map_or(2, |rounds| rounds.parse().expect("a number of rounds"))
}

/// The permitted error codes.
const CODES: [&str; 4] = ["FORBIDDEN", "NOT_FOUND", "CONFLICT", "BAD_USER_INPUT"];

const EVE: &str = "eve@example.com";
const IVY: &str = "ivy@example.com";

/// A mutation and its caller.
struct Move {
    who: &'static str,
    name: &'static str,
}

fn moves(ids: &Ids) -> Vec<Move> {
    let own = ids.changes().into_keys().map(|name| {
        let who = match name {
            "acceptInvitation" | "declineInvitation" => IVY,
            "leaveProject" => EVE,
            _ => "ada@example.com",
        };
        Move { who, name }
    });
    let eves = ["updateProject", "updateFile", "syncFiles", "startSession", "undo", "restoreSnapshot"];
    own.chain(eves.map(|name| Move { who: EVE, name })).collect()
}

/// A project of Ada's, with Eve as an editor and an invitation for Ivy.
async fn fixture(server: &Server) -> Ids {
    let ada = server.user("ada@example.com");
    let ids = Ids::of(&ada, EVE).await;
    let project = Project { client: ada, id: ids.project.clone() };
    for who in [EVE, IVY] {
        let invited = json!({ "userId": user_id(who), "role": "EDITOR" });
        project.write("inviteCollaborator", invited, "revision").await;
    }
    let eve = server.user(EVE);
    eve.mutate_with("acceptInvitation", json!({ "projectId": ids.project }), "revision").await.ok();
    ids
}

async fn make(client: Client, ids: &Ids, name: &str) -> Response {
    let mut changes = ids.changes();
    let (mut variables, select): (Value, _) = changes.remove(name).expect("a mutation");
    if name == "withdrawEmailInvitation" {
        variables["input"]["email"] = json!("nobody@example.com");
    }
    client.gql(&mutation(name, &variables, select), variables).await
}

tests::on_both! {
    async fn two_concurrent_writes_return_what_happened(database: Database) {
        let servers = [Server::start(&database).await, Server::start(&database).await];
        for who in [EVE, IVY] {
            servers[0].user(who).gql("{ viewer { id } }", json!({})).await.ok();
        }
        let count = moves(&fixture(&servers[0]).await).len();
        let mut wrong = Vec::new();
        for round in 0..rounds() {
            for at in 0..count {
                let ids = fixture(&servers[0]).await;
                let all = moves(&ids);
                let (one, other) = (&all[at], &all[(at + round) % count]);
                let [first, second] = [(&servers[0], one), (&servers[1], other)]
                    .map(|(server, step)| make(server.user(step.who), &ids, step.name));
                let (first, second) = tokio::join!(first, second);
                for (step, beside, answer) in [(one, other, first), (other, one, second)] {
                    for error in &answer.errors {
                        let code = error["extensions"]["code"].as_str().unwrap_or_default();
                        if !CODES.contains(&code) {
                            wrong.push(format!("{} {} with {} {}: {error}", step.who, step.name, beside.who, beside.name));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), count * rounds() * 2, wrong.join("\n"));
        for server in servers {
            server.stop().await;
        }
    }
}
