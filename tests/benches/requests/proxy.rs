//! A proxy in front of PostgreSQL that counts round trips, statements and bytes.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The traffic so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// How often a client started to send after the database had answered.
    pub(crate) trips: u64,
    /// Executed statements, without transaction control and the caller's claims.
    pub(crate) statements: u64,
    pub(crate) bytes: u64,
}

impl Counts {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            trips: self.trips - before.trips,
            statements: self.statements - before.statements,
            bytes: self.bytes - before.bytes,
        }
    }
}

#[derive(Default)]
struct Counters {
    trips: AtomicU64,
    statements: AtomicU64,
    bytes: AtomicU64,
}

/// A running proxy; it ends with the runtime.
pub(crate) struct Proxy {
    counters: Arc<Counters>,
    url: String,
}

impl Proxy {
    /// Starts a proxy in front of the PostgreSQL of this URL.
    pub(crate) async fn start(url: &str) -> anyhow::Result<Self> {
        let (login, place) = url.rsplit_once('@').context("no login")?;
        let (address, database) = place.split_once('/').context("no database")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxied = format!("{login}@{}/{database}", listener.local_addr()?);
        let counters = Arc::<Counters>::default();
        let (address, shared) = (address.to_owned(), counters.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await?;
                let database = TcpStream::connect(&address).await?;
                client.set_nodelay(true)?;
                database.set_nodelay(true)?;
                tokio::spawn(carry(client, database, shared.clone()));
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            anyhow::Ok(())
        });
        Ok(Self { counters, url: proxied })
    }

    /// The URL of the same database through the proxy.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            trips: self.counters.trips.load(Ordering::SeqCst),
            statements: self.counters.statements.load(Ordering::SeqCst),
            bytes: self.counters.bytes.load(Ordering::SeqCst),
        }
    }
}

/// Copies in both directions until one side ends.
async fn carry(client: TcpStream, database: TcpStream, counters: Arc<Counters>) -> anyhow::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_database, mut to_database) = database.into_split();
    // Whether the database was the last to send.
    let answered = Arc::new(AtomicBool::new(true));
    let (database_answered, counted) = (answered.clone(), counters.clone());
    let back = async move {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_database.read(&mut buffer).await?;
            if length == 0 {
                return anyhow::Ok(());
            }
            database_answered.store(true, Ordering::SeqCst);
            counted.bytes.fetch_add(length as u64, Ordering::SeqCst);
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    let forth = async move {
        let reader = Mutex::new(Reader::default());
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return anyhow::Ok(());
            }
            counters.trips.fetch_add(u64::from(answered.swap(false, Ordering::SeqCst)), Ordering::SeqCst);
            counters.bytes.fetch_add(length as u64, Ordering::SeqCst);
            let statements = reader.lock().unwrap_or_else(PoisonError::into_inner).read(&buffer[..length])?;
            counters.statements.fetch_add(statements, Ordering::SeqCst);
            to_database.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! { ended = back => ended, ended = forth => ended }
}

/// Reads a client's messages (chapter "Message Formats" of the PostgreSQL manual).
#[derive(Default)]
struct Reader {
    started: bool,
    rest: Vec<u8>,
    /// The prepared statements that only control transactions.
    controls: std::collections::HashSet<Vec<u8>>,
    /// Whether the statement that was bound last is one of them.
    controlling: bool,
}

impl Reader {
    /// How many statements these bytes execute.
    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<u64> {
        self.rest.extend_from_slice(bytes);
        let mut statements = 0;
        loop {
            // The first message has no type.
            let head = usize::from(self.started);
            let Some(length) = self.rest.get(head..head + 4) else { return Ok(statements) };
            let end = head + u32::from_be_bytes(length.try_into()?) as usize;
            if self.rest.len() < end {
                return Ok(statements);
            }
            let message: Vec<u8> = self.rest.drain(..end).collect();
            if self.started {
                statements += self.message(message[0], &message[5..])?;
            } else if message[4..8] != 80_877_103_u32.to_be_bytes() {
                // A request for TLS comes before it.
                self.started = true;
            }
        }
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<u64> {
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().context("a message that ends early");
        match kind {
            b'Q' => return Ok(u64::from(!is_control(text()?))),
            b'P' => {
                let (name, sql) = (text()?, text()?);
                if is_control(sql) {
                    self.controls.insert(name.to_vec())
                } else {
                    self.controls.remove(name)
                };
            }
            b'B' => {
                let (_portal, name) = (text()?, text()?);
                self.controlling = self.controls.contains(name);
            }
            b'E' => return Ok(u64::from(!self.controlling)),
            b'F' => bail!("an unexpected function call"),
            _ => {}
        }
        Ok(0)
    }
}

fn is_control(sql: &[u8]) -> bool {
    let sql = String::from_utf8_lossy(sql).trim_start().to_lowercase();
    let words =
        ["begin", "start transaction", "commit", "rollback", "savepoint", "release", "set ", "select set_config("];
    sql.is_empty() || words.iter().any(|word| sql.starts_with(word))
}
