//! The settings of the transactions on PostgreSQL, whatever the defaults of the server, the database or the login are.

use serde_json::json;

use super::literal;
use crate::model::actor::Actor;
use crate::model::limits::DatabaseLimits;
use crate::model::locks::Locks;

/// What the driver requests when it connects. A pooler can drop it, and the driver depends on it.
const OF_THE_DRIVER: [&str; 3] = ["client_encoding = 'UTF8'", "DateStyle = 'ISO, MDY'", "TimeZone = 'UTC'"];

/// Other clients of a pooler can have left a role and a caller.
const WITHOUT_CALLER: [&str; 3] = ["ROLE NONE", "request.jwt.claims = ''", "request.jwt.claim.sub = ''"];

/// Statements that set the settings of this service. On SQLite there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct TransactionSettings {
    /// Run on each new connection.
    pub(super) on_connect: Option<String>,
    /// Follow each BEGIN, each after a semicolon.
    pub(super) on_begin: String,
    /// Whether a pooler gives each transaction another backend.
    pub(super) is_pooled: bool,
}

impl TransactionSettings {
    /// The settings of sessions: they are set once per connection.
    pub(super) fn of_sessions(limits: &DatabaseLimits, schema: Option<&str>) -> Self {
        let all: Vec<_> = settings(limits, schema).iter().map(|setting| format!("SET {setting}")).collect();
        Self { on_connect: Some(all.join("; ")), ..Self::default() }
    }

    /// The settings behind a pooler in transaction mode. A backend keeps nothing of a transaction, and a transaction uses
    /// nothing that another client of the pooler has left in the backend's session.
    pub(super) fn of_transactions(limits: &DatabaseLimits, schema: Option<&str>) -> Self {
        let settings = settings(limits, schema);
        let all = settings.iter().map(String::as_str).chain(OF_THE_DRIVER).chain(WITHOUT_CALLER);
        let on_begin = all.map(|setting| format!("; SET LOCAL {setting}")).collect();
        Self { on_connect: None, on_begin, is_pooled: true }
    }
}

fn settings(limits: &DatabaseLimits, schema: Option<&str>) -> Vec<String> {
    // One plan per statement for all values, since an index serves every page here. Planning costs more than execution,
    // because row-level security makes statements long.
    let mut settings = vec!["plan_cache_mode = force_generic_plan".to_owned(), "row_security = on".to_owned()];
    settings.extend(schema.map(search_path));
    // Waiting for a row that another server writes is limited like waiting for a write of this server.
    settings.push(format!("lock_timeout = '{}s'", limits.database_acquire_seconds));
    if limits.database_statement_seconds > 0 {
        settings.push(format!("statement_timeout = {}", limits.database_statement_seconds * 1_000));
    }
    settings
}

/// The setting that selects a schema. Unlike a start-up option, it works with all poolers.
pub fn search_path(schema: &str) -> String {
    format!("search_path = {}", quoted(schema))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// Sets the caller for the rest of a transaction, as Supabase's services do: `auth.uid()` is the claims' `sub`. An
/// unverified address is left out. The functions that write identify the caller by the claims, even without the role.
pub(super) fn speak_for(actor: &Actor, locks: Locks) -> String {
    let (user, role) = (actor.user_id.0, "authenticated");
    let claims = match &actor.verified_email {
        None => json!({ "sub": user, "role": role }),
        Some(email) => json!({ "sub": user, "role": role, "email": email.as_str(), "email_verified": true }),
    };
    let role = if locks == Locks::Application { "" } else { "; SET LOCAL ROLE authenticated" };
    format!("{role}; SET LOCAL request.jwt.claims = {}", literal::text(&claims.to_string()))
}
