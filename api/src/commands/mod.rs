//! The commands of the binary, one file each.

use std::{io, process::ExitCode, time::Duration};

use tokio::runtime::{Builder, Runtime};

use crate::{
    config::{self, Cli, Command, Serve},
    graphql::schema,
    telemetry::Telemetry,
};

mod backup;
mod database;
mod doctor;
mod export;
mod import;
mod migrate;
mod project_file;
mod purge;
mod restore;
mod serve;
mod terminal;
mod token;
mod top;
mod verify;

pub use self::{
    backup::{backup, backup_in},
    doctor::{Finding, examine},
    export::export,
    import::import,
    migrate::{migrate, take_back},
    project_file::import_file,
    purge::{Deleted, purge},
    restore::{Restored, restore},
    token::token,
    top::Top,
    verify::verify,
};
use terminal::print;

/// Largest number of threads for short blocking work. By default tokio starts 512, with a stack for each.
const MAX_BLOCKING_THREADS: usize = 32;

/// How long an idle thread is kept. Without memory for another stack no thread could be started.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(3600);

/// The runtime of every command.
///
/// # Errors
/// If the system has no threads or no event queue.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(MAX_BLOCKING_THREADS).thread_keep_alive(THREAD_KEEP_ALIVE).build()
}

/// Runs the command of the command line, and returns the exit code of the process.
///
/// # Errors
/// Why it failed, in words for the operator; they hold no secret.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(cli.settings.observability.log.log_format)?;
    let result = dispatch(cli).await;
    telemetry.finish().await;
    result
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, serve, settings } = cli;
    let settings = settings.with_files()?;
    match command {
        None => serve::run(settings, serve).await,
        Some(Command::Serve(again)) => {
            serve::run(settings, Serve { migrate: serve.migrate || again.migrate, ..serve }).await
        }
        Some(Command::Migrate { down: None, .. }) => migrate::run_up(&settings).await,
        Some(Command::Migrate { down: Some(steps), yes }) => migrate::run_down(&settings, steps, yes).await,
        Some(Command::Token { email, name, hours }) => {
            print(&format!("{}\n", token(&settings, &email, name.as_deref(), hours).await?))
        }
        Some(Command::Import(import)) => return import::run(&settings, &import).await,
        Some(Command::Export(export)) => export::run(&settings, &export).await,
        Some(Command::Backup(backup)) => backup::run(&settings, &backup).await,
        Some(Command::Restore(restore)) => restore::run(&settings, &restore).await,
        Some(Command::Purge { days, yes }) => purge::run(&settings, days, yes).await,
        Some(Command::Top { once }) => top::run(&settings, once).await,
        Some(Command::Verify { project }) => verify::run(&settings, project.as_deref()).await,
        Some(Command::Doctor) => doctor::run(&settings).await,
        Some(Command::Completions { shell }) => print(&String::from_utf8_lossy(&config::completions(shell))),
        Some(Command::Man { command }) => print(&String::from_utf8_lossy(&config::manual(command.as_deref())?)),
        Some(Command::Schema) => print(&format!("{}\n", schema::sdl(&schema::build(&settings.limits)).trim_end())),
    }?;
    Ok(ExitCode::SUCCESS)
}
