//! The command line and the settings, validated once. Flags win over the environment.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::model::limits::Limits;

/// The backend of a web IDE for voice agents: conversation and code in one history, live over GraphQL.
#[derive(Debug, Parser)]
#[command(name = "antiphon", version)]
pub struct Cli {
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API (the default)
    Serve(Serve),
    /// Apply the migrations that the database lacks, or take steps back
    Migrate {
        /// Take back this many migrations instead
        #[arg(long, value_name = "STEPS")]
        down: Option<u32>,
    },
    /// Print a bearer token for a user of this server (needs its JWT secret)
    Token {
        /// The user's e-mail; the same e-mail is the same user
        #[arg(long)]
        email: String,
        /// The user's full name
        #[arg(long)]
        name: Option<String>,
        /// How long the token holds, in hours
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
    /// Print the GraphQL schema
    Schema,
}

/// What only `serve` takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// Apply pending migrations first (SQLite does so anyway)
    #[arg(long, env = "MIGRATE")]
    pub migrate: bool,
}

/// Settings of every command.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://antiphon.db", hide_env_values = true, global = true)]
    pub database_url: Secret,
    /// Most connections to the database
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 16, global = true, value_name = "N")]
    pub database_connections: u32,
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080", global = true, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Secret of HS256 tokens (Supabase: the project's JWT secret), at least 32 bytes; without it, on SQLite and a loopback address, the server makes its own and prints a sign-in link
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, global = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// The `iss` that tokens must have (Supabase: https://PROJECT.supabase.co/auth/v1)
    #[arg(long, env = "JWT_ISSUER", global = true, value_name = "URL")]
    pub jwt_issuer: Option<String>,
    /// The `aud` that tokens must have
    #[arg(long, env = "JWT_AUDIENCE", default_value = "authenticated", global = true, value_name = "NAME")]
    pub jwt_audience: String,
    /// Origin of a web page that may call this server, besides its own page; may be given several times
    #[arg(long = "allow-origin", env = "ALLOW_ORIGINS", value_delimiter = ',', global = true, value_name = "ORIGIN")]
    pub allow_origins: Vec<String>,
    /// Limits on requests.
    #[command(flatten)]
    pub limits: Limits,
}

/// A setting whose value must not appear in logs.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}
