//! The binary `antiphon`.

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use antiphon::{commands, config::Cli};

/// Fast for the many small allocations of an answer, and returns the memory of large requests to the system soon
/// (`.cargo/config.toml`). Under the siege (`benches/siege.rs`) the server takes 260 MiB with it, and 450 MiB with
/// mimalloc, which keeps freed memory per thread.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = commands::runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(commands::run(cli)));
    match ended {
        Ok(code) => code,
        Err(error) => {
            // If standard error is closed, the exit code still reports the failure.
            let _ = writeln!(stderr(), "antiphon: {error:#}");
            ExitCode::FAILURE
        }
    }
}
