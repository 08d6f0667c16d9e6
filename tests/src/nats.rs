//! NATS for tests: a server for one test, from the machine's own binary (Debian's package `nats-server`). Without it
//! the tests that need it are skipped with a warning; if `CI` is set, they fail.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
};

use crate::authority::Certificate;

/// The user that the server accepts.
pub const USER: &str = "antiphon";
/// The user's password; its `@` is written `%40` in a URL.
pub const PASSWORD: &str = "p@ss-for-tests";

/// Runs the server until standard input closes, that is, until the test process ends.
const KEEPER: &str = r#""$@" & read -r _; kill -9 $!; wait"#;

/// A NATS server, running or stopped.
pub struct Nats {
    binary: PathBuf,
    port: u16,
    /// The certificate for TLS, if it is on.
    certificate: Option<Certificate>,
    keeper: Option<Child>,
}

impl Nats {
    /// Starts a server; `None` if the machine has no binary.
    ///
    /// # Panics
    /// If the binary is required and missing, or the server does not start.
    pub fn start() -> Option<Self> {
        let mut nats = Self::stopped()?;
        nats.resume();
        Some(nats)
    }

    /// The same, but the server accepts only TLS.
    ///
    /// # Panics
    /// If the binary is required and missing, or the server does not start.
    pub fn start_with_tls(certificate: Certificate) -> Option<Self> {
        let mut nats = Self::stopped()?;
        nats.certificate = Some(certificate);
        nats.resume();
        Some(nats)
    }

    /// The same, but not started yet.
    ///
    /// # Panics
    /// If the binary is required and missing.
    pub fn stopped() -> Option<Self> {
        static WARNED: OnceLock<()> = OnceLock::new();
        let folders = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
        // Debian's binary is in a folder that is only in root's PATH.
        let mut folders = folders.into_iter().chain([PathBuf::from("/usr/sbin")]);
        let Some(binary) = folders.find_map(|folder| folder.join("nats-server").canonicalize().ok()) else {
            assert!(env::var_os("CI").is_none(), "nats-server is missing, and CI is set");
            // Directly to the terminal: libtest would capture it.
            WARNED.get_or_init(|| {
                let _ = io::stderr().write_all(
                    b"\n*** SKIPPED: every test with NATS. nats-server is missing (Debian's package of that name).\n\n",
                );
            });
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        Some(Self { binary, port, certificate: None, keeper: None })
    }

    /// Its URL, with user and password.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "tls" } else { "nats" };
        format!("{scheme}://{USER}:{}@127.0.0.1:{}", PASSWORD.replace('@', "%40"), self.port)
    }

    /// Starts it at its previous address.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&mut self) {
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&self.binary);
        keeper.args(["--addr", "127.0.0.1", "--port", &self.port.to_string(), "--user", USER, "--pass", PASSWORD]);
        if let Some(Certificate { file, key }) = &self.certificate {
            keeper.arg("--tls").arg("--tlscert").arg(file).arg("--tlskey").arg(key);
        }
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut keeper = keeper.spawn().expect("nats-server");
        let mut log = BufReader::new(keeper.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut said = String::new();
        while !said.contains("Server is ready") {
            said = log.next().unwrap_or_else(|| panic!("NATS does not start: {said}"));
        }
        thread::spawn(move || log.for_each(drop));
        self.keeper = Some(keeper);
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().expect("NATS ends");
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
