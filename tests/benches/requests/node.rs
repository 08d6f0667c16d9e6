//! The servers for Node.js: their installation and their processes.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tests::{database::Kind, server::JWT_SECRET};

use crate::{CONNECTIONS, contender::Who, work::Work};

/// A server; it ends with the value.
pub(crate) struct NodeServer {
    process: Child,
    base: String,
}

impl NodeServer {
    pub(crate) fn start(node: &Path, who: Who, url: &str) -> anyhow::Result<Self> {
        let script = match who {
            Who::Node => "plain.mjs",
            Who::PostGraphile => "postgraphile.mjs",
            other => bail!("{other:?} is not of Node.js"),
        };
        let works = Work::COMPARED.into_iter().filter_map(|work| {
            let statement = work.statements(Kind::Postgres).pop()?;
            let values: Vec<_> = statement.values.iter().map(|value| value.name()).collect();
            Some((format!("{work:?}"), json!({ "sql": statement.sql, "values": values })))
        });
        let works: serde_json::Map<String, Value> = works.collect();
        let told = json!({ "url": url, "secret": JWT_SECRET, "connections": CONNECTIONS, "works": works });
        let mut process = Command::new(node)
            .arg(script)
            .current_dir(folder())
            .envs([("BENCH", told.to_string().as_str()), ("NODE_ENV", "production"), ("GRAPHILE_ENV", "production")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| node.display().to_string())?;
        let lines = BufReader::new(process.stdout.take().context("no pipe")?).lines();
        let base = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()));
        let base = base.with_context(|| format!("{script} does not start"))?;
        Ok(Self { process, base })
    }

    /// Its address and its process.
    pub(crate) fn server(&self) -> (String, u32) {
        (self.base.clone(), self.process.id())
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/requests/node")
}

/// Installs the packages of the lock file, if necessary, and returns the path of Node.js.
///
/// # Errors
/// If there is no npm, or it fails.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    let folder = folder();
    let (lock, installed) = (folder.join("package-lock.json"), folder.join("node_modules/.package-lock.json"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let is_current = changed(&installed).is_ok_and(|done| changed(&lock).is_ok_and(|lock| lock <= done));
    if !is_current {
        eprintln!("npm ci in {}", folder.display());
        let status = Command::new("npm").args(["ci", "--silent"]).current_dir(&folder).stdin(Stdio::null()).status();
        let status = status.context("the other servers need npm; --only-ours leaves them out")?;
        ensure!(status.success(), "npm ci failed; --only-ours leaves the other servers out");
    }
    // PostGraphile needs a newer version than some systems have; the lock file contains this one.
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = folder.join(format!("node_modules/node-linux-{architecture}/bin/node"));
    ensure!(node.exists(), "{} is missing; --only-ours leaves the servers beside ours out", node.display());
    Ok(node)
}
