//! Runs a fresh PostgreSQL with everything that a server needs, until standard input closes: `cargo run -p tests
//! --example postgres` prints the URL of a server's login. It ends with the process.

use std::io::{self, Read};

use anyhow::ensure;
use tests::database::{Database, Kind, postgres_is_here};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ensure!(postgres_is_here(), "PostgreSQL is missing");
    println!("{}", Database::create(Kind::Postgres).await.server_url());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
