//! Tests of the harness itself.

use serde_json::json;
use tests::{
    database::{Database, Kind},
    server::{Server, token, user_id},
};

tests::on_both! {
    async fn two_servers_on_one_database_show_the_same_data(database: Database) {
        let (one, other) = (Server::start(&database).await, Server::start(&database).await);
        assert_ne!(one.address(), other.address());
        let id = |data: serde_json::Value| data["viewer"]["id"].clone();
        let asked = one.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        let again = other.user("ada@example.com").gql("{ viewer { id } }", json!({})).await.ok();
        assert_eq!(id(asked), user_id("ada@example.com"));
        assert_eq!(id(again), user_id("ada@example.com"));
        one.stop().await;
        other.stop().await;
    }

    async fn a_fresh_database_is_empty(server: Server) {
        let ada = server.user("ada@example.com");
        let data = ada.gql("{ projects { totalCount } }", json!({})).await.ok();
        assert_eq!(data["projects"]["totalCount"], 0);
        let refused = server.anonymous().gql("{ viewer { id } }", json!({})).await;
        assert_eq!(refused.error_code(), "UNAUTHENTICATED");
    }

    async fn a_database_has_a_url_of_its_kind(database: Database) {
        let scheme = match database.kind() {
            Kind::Sqlite => "sqlite://",
            Kind::Postgres => "postgres://",
        };
        assert!(database.url().starts_with(scheme));
    }
}

#[test]
fn a_user_is_the_same_in_every_token() {
    assert_eq!(user_id("ada@example.com"), user_id("ada@example.com"));
    assert_ne!(user_id("ada@example.com"), user_id("bob@example.com"));
    assert_eq!(user_id("ada@example.com").len(), 36);
    assert_eq!(token("ada@example.com").split('.').count(), 3);
}
